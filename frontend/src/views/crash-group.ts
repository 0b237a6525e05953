import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { reason } from "../api/client";
import type { CrashGroup, CrashOccurrence } from "../api/messages";
import { shared } from "../styles";
import type { PanelContext } from "./context";
import "./crash-details";

/** One crash group: its occurrences, and all that is known of one of them. */
@customElement("ulogger-crash-group")
export class CrashGroupView extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property({ attribute: false }) group!: CrashGroup;
  @property({ attribute: false }) buttons?: TemplateResult;
  /** The core dump that is shown; the newest one where null. */
  @property({ attribute: false }) capture: number | null = null;
  @property({ type: Boolean, reflect: true }) narrow = false;
  @state() private occurrences: readonly CrashOccurrence[] = [];
  @state() private failure: string | null = null;

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        grid-template-columns: minmax(220px, 300px) 1fr;
        gap: 16px;
        align-items: start;
      }
      :host([narrow]) {
        grid-template-columns: minmax(0, 1fr);
      }
      .head {
        grid-column: 1 / -1;
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px 16px;
        padding-bottom: 8px;
      }
      .head h2 {
        flex: 1 1 300px;
        overflow-wrap: anywhere;
      }
      h3 {
        padding: 12px 16px;
      }
      ul {
        list-style: none;
        margin: 0;
        padding: 0;
        max-height: 70vh;
        overflow: auto;
      }
      li button {
        width: 100%;
        border: none;
        border-radius: 0;
        text-align: start;
        padding: 8px 16px;
      }
      li button[aria-current] {
        background: color-mix(in srgb, var(--primary-color) 18%, transparent);
      }
    `,
  ];

  protected override willUpdate(changed: Map<string, unknown>): void {
    const before = changed.get("group") as CrashGroup | undefined;
    if (changed.has("group") && before?.count !== this.group.count) void this.load();
  }

  private async load(): Promise<void> {
    const { account, fingerprint } = this.group;
    try {
      this.occurrences = await this.context.client.occurrences(account, fingerprint);
    } catch (error) {
      this.failure = reason(error);
    }
  }

  protected override render(): TemplateResult {
    const { localize, go, crash } = this.context;
    const { fault_kind, place, reason: said, fingerprint } = this.group;
    const shown = this.occurrences.find(
      ({ capture }) => capture !== null && (this.capture === null || capture === this.capture),
    );
    return html`
      <div class="head">
        <button
          @click=${() => {
            go("crashes");
          }}
        >
          ← ${localize("back")}
        </button>
        <h2>${crash(fault_kind, place, said) || fingerprint}</h2>
        <span>${localize(`state_${this.group.state}`)}</span>
        ${this.buttons}
      </div>
      ${
        this.failure === null
          ? nothing
          : html`<p class="failed">${localize("failed", { reason: this.failure })}</p>`
      }
      <section class="card">
        <h3>${localize("occurrences")} (${this.group.count})</h3>
        <ul>
          ${this.occurrences.map((each) => this.item(each, each === shown))}
        </ul>
      </section>
      ${
        shown?.capture == null
          ? nothing
          : html`<ulogger-crash-details
              .context=${this.context}
              account=${this.group.account}
              .capture=${shown.capture}
            ></ulogger-crash-details>`
      }
    `;
  }

  private item(each: CrashOccurrence, shown: boolean): TemplateResult {
    const { localize, times, go } = this.context;
    const { account, fingerprint } = this.group;
    const { capture } = each;
    return html`
      <li>
        <button
          aria-current=${shown ? "true" : nothing}
          ?disabled=${capture === null}
          title=${capture === null ? localize("not_kept") : nothing}
          @click=${() => {
            const path = [account, fingerprint, String(capture)].map(encodeURIComponent);
            go(`crashes/${path.join("/")}`);
          }}
        >
          ${each.device_name} <span class="muted">${each.version}</span>
          <div class="muted">${times.full(each.at)}</div>
        </button>
      </li>
    `;
  }
}
