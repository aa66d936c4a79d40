import { HttpAgent } from "@ag-ui/client";
import { resumableFetch } from "./client.js";

export const newAgent = (url) => new HttpAgent({ url, fetch: resumableFetch });
