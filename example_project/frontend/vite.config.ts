/** Django serves what is built; in development Vite serves the pages, and hands the rest to Django. */

import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const django = { target: process.env.DJANGO ?? "http://127.0.0.1:8000" }; // which sees the host of the browser
const client = "../../resumable_streams/static/resumable_streams/client.js";

export default defineConfig(({ command }) => ({
  base: command === "build" ? "/static/react/" : "/react/",
  resolve: {
    // In a project of yours this is the npm package.
    alias: { "django-resumable-streams": fileURLToPath(new URL(client, import.meta.url)) },
  },
  server: {
    fs: { allow: ["../.."] },
    proxy: { "/api": django, "/streams": django, "/static": django },
  },
  build: {
    chunkSizeWarningLimit: 1_000,
    rolldownOptions: { checks: { moduleLevelDirective: false } }, // "use client" means nothing here
  },
}));
