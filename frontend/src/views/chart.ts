import { css, html, LitElement, type TemplateResult, unsafeCSS } from "lit";
import { customElement, property } from "lit/decorators.js";
import uPlot from "uplot";
import uplotCss from "uplot/dist/uPlot.min.css";

/** What makes a chart of a width: its options and data. */
export interface Chart {
  data: uPlot.AlignedData;
  options: (style: CSSStyleDeclaration) => Omit<uPlot.Options, "width" | "height">;
  height: number;
}

/** A uPlot that is as wide as its place and has Home Assistant's colours. */
@customElement("ulogger-chart")
export class UloggerChart extends LitElement {
  @property({ attribute: false }) chart!: Chart;
  @property() label = "";
  /** Changes when the colours do. */
  @property({ type: Boolean }) dark = false;
  private plot?: uPlot;
  private dragging = false;
  private readonly observer = new ResizeObserver(() => {
    this.resize();
  });

  static override styles = [
    unsafeCSS(uplotCss),
    css`
      :host {
        display: block;
        min-width: 0;
        overflow: hidden;
      }
      .u-select {
        background: color-mix(in srgb, var(--primary-color) 25%, transparent);
      }
    `,
  ];

  override connectedCallback(): void {
    super.connectedCallback();
    this.observer.observe(this);
    window.addEventListener("mouseup", this.released);
    if (this.hasUpdated) this.requestUpdate("chart");
  }

  override disconnectedCallback(): void {
    super.disconnectedCallback();
    this.observer.disconnect();
    window.removeEventListener("mouseup", this.released);
    this.dragging = false;
    this.plot?.destroy();
    delete this.plot;
  }

  protected override render(): TemplateResult {
    return html`<div
      role="img"
      aria-label=${this.label}
      @mousedown=${() => {
        this.dragging = true;
      }}
    ></div>`;
  }

  private readonly released = (): void => {
    if (!this.dragging) return;
    this.dragging = false;
    this.requestUpdate("chart");
  };

  protected override updated(changed: Map<string, unknown>): void {
    const place = this.renderRoot.querySelector("div");
    if (!place || !(changed.has("chart") || changed.has("dark"))) return;
    // Somebody is dragging over it: what is new waits for that.
    if (this.plot && this.dragging) return;
    this.plot?.destroy();
    const { data, options, height } = this.chart;
    const width = Math.max(this.clientWidth, 1);
    this.plot = new uPlot({ ...options(getComputedStyle(this)), width, height }, data, place);
  }

  private resize(): void {
    const width = this.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) {
      this.plot.setSize({ width, height: this.chart.height });
    }
  }
}
