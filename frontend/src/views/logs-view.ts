import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Frame } from "../api/messages";
import { type ExportFormat, exported } from "../model/export";
import { type LogQuery, queryFromUrl, queryToUrl } from "../model/log-query";
import { LogSearch } from "../model/log-search";
import { shared } from "../styles";
import type { PanelContext } from "./context";
import "./frame-dialog";
import "./level-histogram";
import "./log-filters";
import "./log-table";

const FORMATS: Record<ExportFormat, { type: string; ending: string }> = {
  text: { type: "text/plain", ending: "log" },
  ndjson: { type: "application/x-ndjson", ending: "ndjson" },
  csv: { type: "text/csv", ending: "csv" },
};

/** The log lines of all devices: filters, lines over time, and the lines. */
@customElement("ulogger-logs-view")
export class LogsView extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property({ type: Boolean, reflect: true }) narrow = false;
  @state() private query: LogQuery = {};
  @state() private opened: Frame | undefined;
  private search?: LogSearch;
  private shown: readonly Frame[] = [];

  static override styles = [
    shared,
    css`
      :host {
        display: flex;
        flex-direction: column;
        flex: 1;
        min-height: 0;
      }
      .bar {
        display: flex;
        flex-wrap: wrap;
        align-items: center;
        gap: 8px 16px;
        padding: 10px 16px;
      }
      ulogger-log-filters {
        flex: 1 1 400px;
      }
      .below {
        display: flex;
        align-items: center;
        gap: 8px;
        padding: 0 16px 8px;
        color: var(--secondary-text-color);
      }
      .below span {
        flex: 1;
      }
      ulogger-level-histogram {
        padding: 0 16px;
      }
      ulogger-log-table {
        background: var(--card-background-color);
        border-top: 1px solid var(--divider-color);
      }
    `,
  ];

  override connectedCallback(): void {
    super.connectedCallback();
    window.addEventListener("popstate", this.moved);
    this.query = queryFromUrl(window.location.search);
    if (this.hasUpdated) this.begin();
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    window.removeEventListener("popstate", this.moved);
    this.search?.stop();
  }

  protected override firstUpdated(): void {
    this.begin();
  }

  private begin(): void {
    this.search = new LogSearch(this.context.client, () => {
      this.requestUpdate();
    });
    this.search.start(this.query);
  }

  private readonly moved = (): void => {
    this.show(queryFromUrl(window.location.search));
  };

  private show(query: LogQuery): void {
    this.query = query;
    this.search?.start(query);
  }

  private changed(query: LogQuery): void {
    const said = queryToUrl(query);
    this.context.go(said ? `logs?${said}` : "logs", true);
    this.show(query);
  }

  protected override render(): TemplateResult {
    const { localize } = this.context;
    const { search } = this;
    const frames = search?.frames ?? [];
    this.shown = frames;
    return html`
      <div class="bar">
        <ulogger-log-filters
          .context=${this.context}
          .query=${this.query}
          .devices=${this.context.logging}
          .wrong=${this.query.expression ? (search?.failure ?? null) : null}
          @query=${(event: CustomEvent<LogQuery>) => {
            this.changed(event.detail);
          }}
        ></ulogger-log-filters>
      </div>
      <ulogger-level-histogram
        .context=${this.context}
        .frames=${frames}
        @range=${(event: CustomEvent<{ since: number; until: number }>) => {
          const { last: _last, ...rest } = this.query;
          this.changed({ ...rest, ...event.detail });
        }}
      ></ulogger-level-histogram>
      <div class="below">
        <span role="status">${search ? this.status(search) : nothing}</span>
        <button
          data-action="pause"
          @click=${() => {
            if (search?.paused) search.resume();
            else search?.pause();
          }}
        >
          ${localize(search?.paused ? "resume" : "pause")}
        </button>
        <select
          aria-label=${localize("export")}
          data-action="export"
          ?disabled=${frames.length === 0}
          @change=${this.export}
        >
          <option value="" selected>${localize("export")}</option>
          <option value="text">${localize("as_text")}</option>
          <option value="ndjson">${localize("as_ndjson")}</option>
          <option value="csv">${localize("as_csv")}</option>
        </select>
      </div>
      ${this.content(frames, search)}
      ${
        this.opened
          ? html`<ulogger-frame-dialog
              .context=${this.context}
              .frame=${this.opened}
              @closed=${() => {
                this.opened = undefined;
              }}
            ></ulogger-frame-dialog>`
          : nothing
      }
    `;
  }

  private content(frames: readonly Frame[], search: LogSearch | undefined): TemplateResult {
    const { localize } = this.context;
    if (frames.length > 0) {
      return html`<ulogger-log-table
        .context=${this.context}
        .frames=${frames}
        ?narrow=${this.narrow}
        @open=${(event: CustomEvent<Frame>) => {
          this.opened = event.detail;
        }}
      ></ulogger-log-table>`;
    }
    if (search?.failure) {
      const key = this.query.expression ? "regex_wrong" : "failed";
      return html`<p class="failed">${localize(key, { reason: search.failure })}</p>`;
    }
    if (!search?.progress.done) return html`<p class="empty">…</p>`;
    const everything = queryToUrl(this.query) === "";
    return html`<p class="empty">${localize(everything ? "nothing_yet" : "nothing_found")}</p>`;
  }

  private status({ frames, progress, paused, waiting }: LogSearch): string {
    const { localize } = this.context;
    const count = frames.length;
    if (paused) return localize("live_paused", { count: waiting });
    if (progress.more) return localize("found_limit", { count });
    return localize(progress.done ? "found" : "found_so_far", { count, ...counts(progress) });
  }

  private readonly export = (event: Event): void => {
    const select = event.target as HTMLSelectElement;
    const format = select.value as ExportFormat;
    select.value = "";
    const { type, ending } = FORMATS[format];
    const content = exported(this.shown, format, this.context.nameOf);
    const url = URL.createObjectURL(new Blob([content], { type }));
    const link = document.createElement("a");
    link.href = url;
    link.download = `device-logs.${ending}`;
    link.click();
    URL.revokeObjectURL(url);
  };
}

function counts({ opened, captures }: { opened: number; captures: number }) {
  return { opened, captures };
}
