import { html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import uPlot from "uplot";
import type { Frame } from "../api/messages";
import { type Histogram, histogram } from "../model/histogram";
import { SEVERITIES } from "../model/levels";
import { shared } from "../styles";
import type { Chart } from "./chart";
import "./chart";
import type { PanelContext } from "./context";

const HEIGHT = 100;

/** Lines over time by level; dragging over a part fires `range` with its times. */
@customElement("ulogger-level-histogram")
export class LevelHistogram extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property({ attribute: false }) frames: readonly Frame[] = [];
  private chart?: Chart;

  static override styles = shared;

  protected override willUpdate(changed: Map<string, unknown>): void {
    if (!changed.has("frames")) return;
    const counted = histogram(this.frames);
    if (counted.starts.length > 0) this.chart = this.chartOf(counted);
    else delete this.chart;
  }

  protected override render(): TemplateResult | typeof nothing {
    if (!this.chart) return nothing;
    return html`<ulogger-chart
      .chart=${this.chart}
      .dark=${this.context.isDark()}
      label=${this.context.localize("frames_over_time")}
    ></ulogger-chart>`;
  }

  private chartOf({ starts, width, counts }: Histogram): Chart {
    // Stacked: each level's bars stand on those of the more severe ones and are drawn first.
    const below = new Array<number>(starts.length).fill(0);
    const stacked = [...counts].reverse().map((row) =>
      row.map((count, bin) => {
        below[bin] = (below[bin] ?? 0) + count;
        return below[bin] ?? 0;
      }),
    );
    const centres = starts.map((start) => start + width / 2);
    return {
      height: HEIGHT,
      data: [centres, ...stacked.reverse()] as uPlot.AlignedData,
      options: (style) => {
        const text = style.getPropertyValue("--secondary-text-color");
        const grid = { stroke: style.getPropertyValue("--divider-color"), width: 1 };
        return {
          legend: { show: false },
          cursor: { y: false, points: { show: false }, drag: { x: true, y: false } },
          scales: { x: { range: [starts[0] ?? 0, (starts.at(-1) ?? 0) + width] } },
          axes: [
            {
              stroke: text,
              grid: { show: false },
              size: 28,
              values: (_, at) => this.context.times.ticks(at),
            },
            { stroke: text, grid, size: 44, space: 20 },
          ],
          series: [
            {},
            ...SEVERITIES.map((level) => ({
              fill: style.getPropertyValue(`--panel-${level}`),
              width: 0,
              points: { show: false },
              paths: uPlot.paths.bars?.({ size: [0.9, 100], align: 0 }) ?? null,
            })),
          ] as uPlot.Series[],
          hooks: {
            setSelect: [
              (plot) => {
                if (plot.select.width < 3) return;
                const since = plot.posToVal(plot.select.left, "x");
                const until = plot.posToVal(plot.select.left + plot.select.width, "x");
                this.dispatchEvent(
                  new CustomEvent("range", {
                    detail: { since: Math.floor(since), until: Math.ceil(until) },
                  }),
                );
              },
            ],
          },
        };
      },
    };
  }
}
