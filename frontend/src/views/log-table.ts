import { VirtualizerController } from "@tanstack/lit-virtual";
import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { createRef, ref } from "lit/directives/ref.js";
import { repeat } from "lit/directives/repeat.js";
import type { Frame } from "../api/messages";
import { shared } from "../styles";
import type { PanelContext } from "./context";

const ROW = 30;
const NARROW_ROW = 52;

/** Frames as a table of which only what is seen is drawn; fires `open` with a frame. */
@customElement("ulogger-log-table")
export class LogTable extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property({ attribute: false }) frames: readonly Frame[] = [];
  @property({ type: Boolean, reflect: true }) narrow = false;
  @state() private active = 0;
  private readonly scroller = createRef<HTMLElement>();
  private readonly rows = new VirtualizerController<HTMLElement, HTMLElement>(this, {
    getScrollElement: () => this.scroller.value ?? null,
    count: 0,
    estimateSize: () => ROW,
    overscan: 12,
  });

  static override styles = [
    shared,
    css`
      :host {
        display: flex;
        flex-direction: column;
        min-height: 0;
        flex: 1;
      }
      [role="table"] {
        display: flex;
        flex-direction: column;
        flex: 1;
        min-height: 0;
      }
      [role="row"] {
        display: grid;
        grid-template-columns: 212px minmax(100px, 200px) 90px minmax(60px, 100px) 1fr 80px;
        gap: 10px;
        align-items: center;
        width: 100%;
        height: 30px;
        padding: 0 16px;
        border-bottom: 1px solid var(--divider-color);
      }
      .head {
        font-weight: 500;
        color: var(--secondary-text-color);
      }
      [role="cell"] {
        overflow: hidden;
        text-overflow: ellipsis;
        white-space: nowrap;
      }
      .body [role="row"] {
        cursor: pointer;
      }
      .body [role="row"]:hover {
        background: color-mix(in srgb, var(--primary-text-color) 6%, transparent);
      }
      .uncertain::after {
        content: " ±";
        color: var(--panel-warning);
      }
      .body {
        position: relative;
        flex: 1;
        min-height: 0;
        overflow: auto;
        contain: strict;
      }
      .body [role="row"] {
        position: absolute;
        top: 0;
        left: 0;
      }
      :host([narrow]) .head {
        display: none;
      }
      :host([narrow]) [role="row"] {
        grid-template-columns: auto auto 1fr;
        grid-template-rows: auto auto;
        height: 52px;
        gap: 0 10px;
        padding: 6px 12px;
      }
      :host([narrow]) .module,
      :host([narrow]) .firmware {
        display: none;
      }
      :host([narrow]) .message {
        grid-column: 1 / -1;
      }
      :host([narrow]) .time {
        order: 2;
        text-align: right;
        /* Of what does not fit the date goes, not the time. */
        direction: rtl;
      }
      :host([narrow]) .message {
        order: 3;
      }
    `,
  ];

  protected override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("frames")) {
      this.active = Math.max(0, Math.min(this.active, this.frames.length - 1));
    }
    if (changed.has("frames") || changed.has("narrow")) {
      const virtualizer = this.rows.getVirtualizer();
      const height = this.narrow ? NARROW_ROW : ROW;
      virtualizer.setOptions({
        ...virtualizer.options,
        count: this.frames.length,
        estimateSize: () => height,
      });
      if (changed.has("narrow")) virtualizer.measure();
    }
  }

  protected override render(): TemplateResult {
    const { localize } = this.context;
    const rows = this.rows.getVirtualizer();
    const heads = ["time", "device", "level", "module", "message", "firmware"] as const;
    return html`
      <div role="table" aria-label=${localize("log_lines")} aria-rowcount=${this.frames.length + 1}>
        <div role="rowgroup">
          <div role="row" class="head" aria-rowindex="1">
            ${heads.map((head) => html`<span role="columnheader">${localize(head)}</span>`)}
          </div>
        </div>
        <div ${ref(this.scroller)} class="body" role="rowgroup" @keydown=${this.keyed}>
          <div role="presentation" style="height: ${rows.getTotalSize()}px">
            ${repeat(
              rows.getVirtualItems(),
              ({ index }) => this.frames[index]?.key ?? index,
              ({ index, start }) => this.row(index, start),
            )}
          </div>
        </div>
      </div>
    `;
  }

  private row(index: number, start: number): TemplateResult | typeof nothing {
    const frame = this.frames[index];
    if (!frame) return nothing;
    const { localize, nameOf, times } = this.context;
    const known = frame.uncertainty !== null;
    const surely =
      known && (frame.uncertainty ?? 0) < 1
        ? nothing
        : known
          ? localize("uncertain", { seconds: Math.ceil(frame.uncertainty ?? 0) })
          : localize("when_arrived");
    return html`
      <div
        role="row"
        aria-rowindex=${index + 2}
        tabindex=${index === this.active ? 0 : -1}
        data-index=${index}
        style="transform: translateY(${start}px)"
        @click=${() => {
          this.open(index);
        }}
        @focus=${() => {
          this.active = index;
        }}
      >
        <span role="cell" class="time mono ${surely === nothing ? "" : "uncertain"}" title=${surely}
          ><bdi>${times.exact(frame.at)}</bdi></span
        >
        <span role="cell" class="device">${nameOf(frame.device)}</span>
        <span role="cell" class="level ${frame.level}">${localize(frame.level)}</span>
        <span role="cell" class="module">${frame.module_name ?? frame.module}</span>
        <span role="cell" class="message mono">${frame.message}</span>
        <span role="cell" class="firmware">${frame.firmware}</span>
      </div>
    `;
  }

  private open(index: number): void {
    const frame = this.frames[index];
    if (frame === undefined) return;
    this.active = index;
    this.dispatchEvent(new CustomEvent("open", { detail: frame }));
  }

  private readonly keyed = (event: KeyboardEvent): void => {
    const steps: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: 20, PageUp: -20 };
    const step = steps[event.key];
    if (event.key === "Enter" || event.key === " ") this.open(this.active);
    else if (step !== undefined) void this.move(this.active + step);
    else if (event.key === "Home") void this.move(0);
    else if (event.key === "End") void this.move(this.frames.length - 1);
    else return;
    event.preventDefault();
  };

  /** Moves the keyboard's focus to a row that may not be drawn yet. */
  private async move(index: number): Promise<void> {
    this.active = Math.max(0, Math.min(index, this.frames.length - 1));
    this.rows.getVirtualizer().scrollToIndex(this.active, { align: "auto" });
    await new Promise(requestAnimationFrame);
    await this.updateComplete;
    this.renderRoot.querySelector<HTMLElement>(`[data-index="${this.active}"]`)?.focus();
  }
}
