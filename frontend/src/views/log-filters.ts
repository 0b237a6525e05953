import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import { isLevel, LEVELS } from "../model/levels";
import type { LogQuery } from "../model/log-query";
import { shared } from "../styles";
import type { PanelContext } from "./context";

const AGES = [
  [3_600, "last_hour"],
  [86_400, "last_day"],
  [604_800, "last_week"],
] as const;
const TYPING = 250;

/** The fields of a query; fires `query` with the changed one. */
@customElement("ulogger-log-filters")
export class LogFilters extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property({ attribute: false }) query: LogQuery = {};
  /** The IDs of the devices to choose from. */
  @property({ attribute: false }) devices: readonly string[] = [];
  @property() wrong: string | null = null;
  private timer?: ReturnType<typeof setTimeout>;
  /** What was typed and is not fired yet. */
  private typed: Changes = {};

  static override styles = [
    shared,
    css`
      :host {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        align-items: center;
      }
      label {
        display: inline-flex;
        align-items: center;
        gap: 6px;
      }
      select,
      input:not([type]) {
        max-width: 220px;
        min-width: 0;
      }
      .text {
        flex: 1 1 180px;
      }
      .text input {
        width: 100%;
        max-width: none;
      }
      .range {
        display: inline-flex;
        gap: 6px;
        align-items: center;
      }
      [aria-invalid="true"] {
        border-color: var(--panel-error);
      }
    `,
  ];

  protected override render(): TemplateResult {
    const { localize } = this.context;
    return html`
      ${this.deviceField()}
      <select aria-label=${localize("level")} data-field="level" @change=${this.levelChosen}>
        <option value="" ?selected=${!this.query.level}>${localize("any_level")}</option>
        ${LEVELS.map(
          (level) =>
            html`<option value=${level} ?selected=${this.query.level === level}>
              ${localize(level)}
            </option>`,
        )}
      </select>
      <input
        aria-label=${localize("module")}
        data-field="module"
        placeholder=${localize("module")}
        size="10"
        .value=${this.query.module ?? ""}
        @input=${this.moduleTyped}
      />
      <span class="text">
        <input
          aria-label=${localize("text")}
          data-field="text"
          placeholder=${localize("text")}
          aria-invalid=${this.wrong === null ? "false" : "true"}
          title=${this.wrong ?? nothing}
          .value=${this.query.expression ?? this.query.contains ?? ""}
          @input=${this.textTyped}
        />
      </span>
      <label>
        <input
          type="checkbox"
          data-field="regex"
          .checked=${this.query.expression !== undefined}
          @change=${this.textTyped}
        />
        ${localize("regex")}
      </label>
      ${this.timeField()}
    `;
  }

  private deviceField(): TemplateResult {
    const { localize, nameOf } = this.context;
    const chosen = this.query.devices?.length === 1 ? this.query.devices[0] : undefined;
    const named = [...this.devices].sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
    return html`
      <select
        aria-label=${localize("device")}
        data-field="device"
        @change=${(event: Event) => {
          const { value } = event.target as HTMLSelectElement;
          this.change({ devices: value ? [value] : undefined });
        }}
      >
        <option value="" ?selected=${chosen === undefined}>${localize("all_devices")}</option>
        ${named.map(
          (id) => html`<option value=${id} ?selected=${id === chosen}>${nameOf(id)}</option>`,
        )}
      </select>
    `;
  }

  private timeField(): TemplateResult {
    const { localize, times } = this.context;
    const { since, until, last } = this.query;
    if (since !== undefined || until !== undefined) {
      const said = localize("range_of", {
        since: since === undefined ? "…" : times.full(since),
        until: until === undefined ? "…" : times.full(until),
      });
      return html`<span class="range">
        ${said}
        <button
          data-field="whole-range"
          @click=${() => {
            this.change({ since: undefined, until: undefined });
          }}
        >
          ${localize("whole_range")}
        </button>
      </span>`;
    }
    return html`
      <select
        aria-label=${localize("range")}
        data-field="range"
        @change=${(event: Event) => {
          const seconds = Number((event.target as HTMLSelectElement).value);
          this.change({ last: seconds > 0 ? seconds : undefined });
        }}
      >
        <option value="0" ?selected=${last === undefined}>${localize("any_time")}</option>
        ${AGES.map(
          ([seconds, key]) =>
            html`<option value=${seconds} ?selected=${last === seconds}>${localize(key)}</option>`,
        )}
      </select>
    `;
  }

  private readonly levelChosen = (event: Event): void => {
    const { value } = event.target as HTMLSelectElement;
    this.change({ level: isLevel(value) ? value : undefined });
  };

  private readonly moduleTyped = (event: Event): void => {
    const value = (event.target as HTMLInputElement).value.trim();
    this.soon({ module: value || undefined });
  };

  private readonly textTyped = (): void => {
    const value = this.field("text").value;
    const isExpression = this.field("regex").checked;
    this.soon({
      contains: isExpression || !value ? undefined : value,
      // An empty expression keeps the box ticked while something is typed.
      expression: isExpression ? value : undefined,
    });
  };

  private field(name: string): HTMLInputElement {
    const found = this.renderRoot.querySelector<HTMLInputElement>(`[data-field="${name}"]`);
    if (!found) throw new Error(`there is no field ${name}`);
    return found;
  }

  /** Waits until somebody has stopped typing. */
  private soon(change: Changes): void {
    clearTimeout(this.timer);
    this.typed = { ...this.typed, ...change };
    this.timer = setTimeout(() => {
      this.change({});
    }, TYPING);
  }

  private change(change: Changes): void {
    const changes = { ...this.typed, ...change };
    this.typed = {};
    const query = Object.fromEntries(
      Object.entries({ ...this.query, ...changes }).filter(([, value]) => value !== undefined),
    ) as LogQuery;
    this.dispatchEvent(new CustomEvent("query", { detail: query }));
  }
}

type Changes = { [Field in keyof LogQuery]: LogQuery[Field] | undefined };
