// What the pages of the admin do a little better with scripts; they work without.

// An action that takes longer than one request may goes on by itself.
document.querySelector("form.rs-go-on")?.requestSubmit();

// One box selects all live streams of the page.
const all = document.getElementById("rs-all");
all?.addEventListener("change", () => {
    for (const box of all.form.querySelectorAll("input.action-select")) box.checked = all.checked;
});
