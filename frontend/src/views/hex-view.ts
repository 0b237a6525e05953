import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Memory, Symbol } from "../api/messages";
import { hex } from "../model/times";
import { shared } from "../styles";

const WIDTH = 16;
const MOST_ROWS = 256;

/** A piece of memory as bytes and text, with the symbols that lie in it. */
@customElement("ulogger-hex-view")
export class HexView extends LitElement {
  @property({ attribute: false }) memory!: Memory;
  @property({ attribute: false }) symbols: readonly Symbol[] = [];

  static override styles = [
    shared,
    css`
      pre {
        margin: 0;
        padding: 8px 12px;
        overflow-x: auto;
        line-height: 1.5;
      }
      b {
        text-decoration: underline var(--primary-color);
        font-weight: 500;
      }
    `,
  ];

  protected override render(): TemplateResult {
    const bytes = Uint8Array.from(atob(this.memory.data), (char) => char.charCodeAt(0));
    const rows = Math.min(Math.ceil(bytes.length / WIDTH), MOST_ROWS);
    const from = hex(this.memory.start);
    const to = hex(this.memory.start + bytes.length);
    return html`
      <details>
        <summary class="mono">${from} – ${to}</summary>
        <pre class="mono" tabindex="0">
${Array.from({ length: rows }, (_, row) => this.row(bytes, row))}${
            bytes.length > rows * WIDTH ? "…" : nothing
          }</pre>
      </details>
    `;
  }

  private row(bytes: Uint8Array, row: number): TemplateResult {
    const at = this.memory.start + row * WIDTH;
    const some = [...bytes.subarray(row * WIDTH, (row + 1) * WIDTH)];
    const names = this.symbols
      .filter(({ address }) => address >= at && address < at + WIDTH)
      .map(({ name }) => name);
    const codes = some.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const text = some
      .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "."))
      .join("");
    const line = `${hex(at)}  ${codes.padEnd(WIDTH * 3)} ${text.padEnd(WIDTH)}`;
    return html`${line} ${names.length ? html`<b>${names.join(" ")}</b>` : nothing}${"\n"}`;
  }
}
