import { render } from "preact";

import { start } from "./store.ts";
import { Page } from "./views/page.tsx";

const root = document.getElementById("page");
if (root) {
  root.replaceChildren();
  render(<Page />, root);
  start();
}
