import { css, html, LitElement, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import { shared } from "../styles";

/** A dialog over the view, as wide as a phone or half a screen; fires `closed`. */
@customElement("ulogger-dialog")
export class UloggerDialog extends LitElement {
  @property() heading = "";
  @property() closeLabel = "";

  static override styles = [
    shared,
    css`
      dialog {
        width: min(760px, 100vw);
        max-width: 100vw;
        max-height: 90vh;
        padding: 0;
        border: none;
        border-radius: 16px;
        color: var(--primary-text-color);
        background: var(--card-background-color);
      }
      dialog::backdrop {
        background: rgb(0 0 0 / 50%);
      }
      header {
        position: sticky;
        top: 0;
        display: flex;
        align-items: center;
        justify-content: space-between;
        gap: 12px;
        padding: 12px 16px;
        background: var(--card-background-color);
        border-bottom: 1px solid var(--divider-color);
      }
      .content {
        padding: 16px;
        overflow-wrap: anywhere;
      }
      @media (max-width: 600px) {
        dialog {
          height: 100dvh;
          max-height: 100dvh;
          border-radius: 0;
        }
      }
    `,
  ];

  protected override firstUpdated(): void {
    this.renderRoot.querySelector("dialog")?.showModal();
  }

  protected override render(): TemplateResult {
    return html`
      <dialog aria-labelledby="heading" @close=${this.closed} @click=${this.clicked}>
        <header>
          <h2 id="heading">${this.heading}</h2>
          <button aria-label=${this.closeLabel} @click=${this.close}>✕</button>
        </header>
        <div class="content"><slot></slot></div>
      </dialog>
    `;
  }

  private readonly close = (): void => {
    this.renderRoot.querySelector("dialog")?.close();
  };

  private readonly closed = (): void => {
    this.dispatchEvent(new Event("closed", { bubbles: true, composed: true }));
  };

  private readonly clicked = (event: Event): void => {
    if ((event.target as Element).tagName === "DIALOG") this.close();
  };
}
