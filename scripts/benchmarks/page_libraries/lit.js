import { html, nothing, render } from "lit";
import { guard } from "lit/directives/guard.js";
import { repeat } from "lit/directives/repeat.js";
import { styleMap } from "lit/directives/style-map.js";

import { measure } from "./rows.js";

const drawn = (row) => html`
  <div class="row">
    <a href=${`#/i/${row.id}`}>${row.id}</a>
    <span class=${`status s-${row.status}`}>${row.status}</span>
    <span dir="auto">${row.activity}</span>
    <span class="bar"><span style=${styleMap({ width: `${row.context}%` })}></span></span>
    ${row.unread > 0 ? html`<span class="unread">${row.unread}</span>` : nothing}
  </div>
`;

const list = (rows) => html`<section>
  ${repeat(
    rows,
    (row) => row.id,
    (row) => guard([row], () => drawn(row)),
  )}
</section>`;

measure((rows) => render(list(rows), document.body));
