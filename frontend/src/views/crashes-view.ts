import { css, html, LitElement, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { reason, type Stop } from "../api/client";
import type { CrashGroup, CrashStateName, PersonsState } from "../api/messages";
import { shared, tables } from "../styles";
import "./chart";
import type { PanelContext } from "./context";
import "./crash-group";
import { sparkline } from "./sparkline";

const NEXT: Record<CrashStateName, PersonsState[]> = {
  open: ["resolved", "ignored"],
  regressed: ["resolved", "ignored"],
  resolved: ["open"],
  ignored: ["open"],
};

/** The crash groups of all accounts; one of them with its occurrences, as the path names it. */
@customElement("ulogger-crashes-view")
export class CrashesView extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  /** Account, fingerprint and capture, as far as something is chosen. */
  @property({ attribute: false }) path: readonly string[] = [];
  @property({ type: Boolean, reflect: true }) narrow = false;
  @state() private groups?: readonly CrashGroup[];
  @state() private failure: string | null = null;
  private stop?: Stop;

  static override styles = [
    shared,
    tables,
    css`
      .reason {
        overflow-wrap: anywhere;
      }
      .reason a {
        display: inline-block;
      }
      .reason a::first-letter {
        text-transform: uppercase;
      }
      .number {
        text-align: end;
      }
      .state.open,
      .state.regressed {
        font-weight: 500;
      }
      :host([narrow]) .reason {
        width: 100%;
      }
    `,
  ];

  override connectedCallback(): void {
    super.connectedCallback();
    if (this.hasUpdated) this.listen();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.stop?.();
  }

  protected override firstUpdated(): void {
    this.listen();
  }

  private listen(): void {
    this.stop = this.context.client.crashGroups(
      (groups) => {
        this.groups = groups;
      },
      (error) => {
        this.failure = reason(error);
      },
    );
  }

  protected override render(): TemplateResult {
    const { localize } = this.context;
    if (this.failure !== null) {
      return html`<p class="failed">${localize("failed", { reason: this.failure })}</p>`;
    }
    if (!this.groups) return html`<p class="empty">…</p>`;
    const [account, fingerprint, capture] = this.path;
    const chosen = this.groups.find(
      (group) => group.account === account && group.fingerprint === fingerprint,
    );
    if (chosen) {
      return html`<ulogger-crash-group
        .context=${this.context}
        .group=${chosen}
        .capture=${capture === undefined ? null : Number(capture)}
        .buttons=${this.buttons(chosen)}
        ?narrow=${this.narrow}
      ></ulogger-crash-group>`;
    }
    if (this.groups.length === 0) return html`<p class="empty">${localize("no_crashes")}</p>`;
    const heads = [
      "crash_reason",
      "state",
      "count",
      "last_two_weeks",
      "devices",
      "versions",
      "first_seen",
      "last_seen",
    ] as const;
    return html`
      <div class="card">
        <table>
          <thead>
            <tr>
              ${heads.map((head) => html`<th scope="col">${localize(head)}</th>`)}
              <th><span class="visually-hidden">${localize("state")}</span></th>
            </tr>
          </thead>
          <tbody>
            ${this.groups.map((group) => this.row(group))}
          </tbody>
        </table>
      </div>
    `;
  }

  private row(group: CrashGroup): TemplateResult {
    const { localize, times, go, isDark, crash } = this.context;
    const path = `crashes/${encodeURIComponent(group.account)}/${encodeURIComponent(group.fingerprint)}`;
    return html`
      <tr>
        <td class="reason">
          <a
            href=${path}
            @click=${(event: Event) => {
              event.preventDefault();
              go(path);
            }}
            >${crash(group.fault_kind, group.place, group.reason) || group.fingerprint}</a
          >
        </td>
        <td class="state ${group.state}">${localize(`state_${group.state}`)}</td>
        <td class="number" data-label=${localize("count")}>${group.count}</td>
        <td>
          <ulogger-chart
            .chart=${sparkline(group.days)}
            .dark=${isDark()}
            label=${localize("last_two_weeks")}
          ></ulogger-chart>
        </td>
        <td data-label=${localize("devices")} title=${group.devices.join(", ")}>
          ${group.devices.length}
        </td>
        <td data-label=${localize("versions")}>${group.versions.join(", ")}</td>
        <td data-label=${localize("first_seen")} title=${times.full(group.first_seen)}>
          ${times.relative(group.first_seen)}
        </td>
        <td data-label=${localize("last_seen")} title=${times.full(group.last_seen)}>
          ${times.relative(group.last_seen)}
        </td>
        <td>${this.buttons(group)}</td>
      </tr>
    `;
  }

  private buttons(group: CrashGroup): TemplateResult {
    const { localize, client } = this.context;
    const set = async (to: PersonsState): Promise<void> => {
      try {
        await client.setCrashState(group.account, group.fingerprint, to);
      } catch (error) {
        this.failure = reason(error);
      }
    };
    return html`<span class="buttons">
      ${NEXT[group.state].map(
        (to) =>
          html`<button data-state=${to} @click=${() => void set(to)}>
            ${localize(`set_${to}`)}
          </button>`,
      )}
    </span>`;
  }
}
