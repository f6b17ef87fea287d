import { Component, render } from "preact";

import { measure } from "./rows.js";

class Row extends Component {
  shouldComponentUpdate(next) {
    return next.row !== this.props.row;
  }

  render({ row }) {
    return (
      <div class="row">
        <a href={`#/i/${row.id}`}>{row.id}</a>
        <span class={`status s-${row.status}`}>{row.status}</span>
        <span dir="auto">{row.activity}</span>
        <span class="bar">
          <span style={{ width: `${row.context}%` }} />
        </span>
        {row.unread > 0 && <span class="unread">{row.unread}</span>}
      </div>
    );
  }
}

const List = ({ rows }) => (
  <section>
    {rows.map((row) => (
      <Row key={row.id} row={row} />
    ))}
  </section>
);

measure((rows) => render(<List rows={rows} />, document.body));
