import { css } from "lit";

/** What all views share: Home Assistant's theme, tables, buttons, fields. */
export const shared = css`
  :host {
    color: var(--primary-text-color);
    font-family: var(--ha-font-family-body, Roboto, sans-serif);
    font-size: 14px;
    --panel-debug: var(--secondary-text-color);
    --panel-info: var(--info-color, #039be5);
    --panel-warning: var(--warning-color, #ffa600);
    --panel-error: var(--error-color, #db4437);
    --panel-critical: #a21caf;
    --panel-metric: var(--success-color, #43a047);
  }
  * {
    box-sizing: border-box;
  }
  .card {
    background: var(--card-background-color);
    border: 1px solid var(--divider-color);
    border-radius: var(--ha-card-border-radius, 12px);
    overflow: hidden;
  }
  h2,
  h3 {
    margin: 0;
    font-size: 16px;
    font-weight: 500;
  }
  button,
  select,
  input {
    font: inherit;
    color: inherit;
    background: var(--card-background-color);
    border: 1px solid var(--outline-color, var(--divider-color));
    border-radius: 8px;
    min-height: 36px;
    padding: 4px 10px;
  }
  input[type="checkbox"] {
    min-height: 0;
    width: 18px;
    height: 18px;
    margin: 0;
    accent-color: var(--primary-color);
  }
  input[type="file"] {
    border: none;
    max-width: 100%;
  }
  button {
    cursor: pointer;
    color: var(--primary-text-color);
  }
  button.primary {
    background: color-mix(in srgb, var(--primary-color) 20%, transparent);
    border-color: var(--primary-color);
  }
  button:disabled {
    opacity: 0.5;
    cursor: default;
  }
  :focus-visible {
    outline: 2px solid var(--primary-color);
    outline-offset: 1px;
  }
  a {
    color: inherit;
    text-decoration-color: var(--primary-color);
    text-underline-offset: 3px;
  }
  .muted {
    color: var(--secondary-text-color);
  }
  .buttons {
    display: inline-flex;
    gap: 6px;
  }
  span.muted {
    margin-inline-start: 8px;
  }
  li > .level {
    margin-inline-start: 8px;
  }
  li > span,
  li > strong {
    margin-inline-end: 8px;
  }
  h2::first-letter,
  h3:not(.mono)::first-letter {
    text-transform: uppercase;
  }
  .mono {
    font-family: var(--ha-font-family-code, ui-monospace, monospace);
    font-size: 13px;
  }
  .empty,
  .failed {
    padding: 32px 16px;
    text-align: center;
    color: var(--secondary-text-color);
  }
  .failed {
    color: var(--primary-text-color);
  }
  .level {
    white-space: nowrap;
  }
  .level::before {
    content: "";
    display: inline-block;
    width: 9px;
    height: 9px;
    border-radius: 50%;
    margin-right: 6px;
    background: var(--level-color);
  }
  .level.debug {
    --level-color: var(--panel-debug);
  }
  .level.info {
    --level-color: var(--panel-info);
  }
  .level.warning {
    --level-color: var(--panel-warning);
  }
  .level.error {
    --level-color: var(--panel-error);
  }
  .level.critical {
    --level-color: var(--panel-critical);
  }
  .level.metric {
    --level-color: var(--panel-metric);
  }
  .visually-hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
`;

/** A table whose rows become cards on a phone. */
export const tables = css`
  :host {
    display: block;
    overflow: auto;
    padding: 16px;
  }
  .card {
    overflow-x: auto;
  }
  table {
    width: 100%;
    border-collapse: collapse;
  }
  th {
    text-align: start;
    font-weight: 500;
    color: var(--secondary-text-color);
  }
  th,
  td {
    padding: 8px;
    border-bottom: 1px solid var(--divider-color);
  }
  tr:last-child td {
    border-bottom: none;
  }
  ulogger-chart {
    width: 100px;
  }
  :host([narrow]) {
    padding: 8px;
  }
  :host([narrow]) thead {
    display: none;
  }
  :host([narrow]) tr {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 14px;
    align-items: center;
    padding: 10px 12px;
    border-bottom: 1px solid var(--divider-color);
  }
  :host([narrow]) td {
    padding: 0;
    border: none;
  }
  :host([narrow]) td[data-label]::before {
    content: attr(data-label) ": ";
    color: var(--secondary-text-color);
  }
`;
