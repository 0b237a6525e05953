import { html, LitElement } from "lit";
import { customElement, property } from "lit/decorators.js";

@customElement("ulogger-panel")
export class UloggerPanel extends LitElement {
  @property({ type: Boolean }) narrow = false;

  protected override render() {
    return html`<p>${this.narrow}</p>`;
  }
}
