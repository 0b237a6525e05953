import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { reason, type Stop } from "../api/client";
import type { Device } from "../api/messages";
import { SEVERITIES } from "../model/levels";
import { shared, tables } from "../styles";
import "./chart";
import type { PanelContext } from "./context";
import "./device-timeline";
import { sparkline } from "./sparkline";

/** All devices and what can be done with one or many; one of them with its timeline. */
@customElement("ulogger-devices-view")
export class DevicesView extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  /** The device whose timeline is shown, if one is. */
  @property({ attribute: false }) path: readonly string[] = [];
  @property({ type: Boolean, reflect: true }) narrow = false;
  @state() private devices?: readonly Device[];
  @state() private selected: ReadonlySet<string> = new Set();
  @state() private metric = "";
  @state() private said = "";
  @state() private failure: string | null = null;
  private readonly known = new Map<string, Device>();
  private stop?: Stop;

  static override styles = [
    shared,
    tables,
    css`
      .bar {
        display: flex;
        flex-wrap: wrap;
        gap: 8px;
        align-items: center;
        margin-bottom: 12px;
      }
      .bar span {
        flex: 1;
      }
      td {
        white-space: nowrap;
      }
      progress {
        width: 90px;
        accent-color: var(--primary-color);
      }
      .bad {
        color: var(--panel-error);
        font-weight: 500;
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
    this.known.clear();
    this.stop = this.context.client.devices(
      ({ devices, removed }) => {
        for (const device of devices) this.known.set(device.device, device);
        for (const id of removed) this.known.delete(id);
        this.selected = new Set([...this.selected].filter((id) => this.known.has(id)));
        const { nameOf } = this.context;
        this.devices = [...this.known.values()].sort((a, b) =>
          nameOf(a.device).localeCompare(nameOf(b.device)),
        );
      },
      (error) => {
        this.failure = reason(error);
      },
    );
  }

  protected override render(): TemplateResult {
    const { localize } = this.context;
    const { devices } = this;
    if (this.failure !== null) {
      return html`<p class="failed">${localize("failed", { reason: this.failure })}</p>`;
    }
    if (!devices) return html`<p class="empty">…</p>`;
    const shown = devices.find(({ device }) => device === this.path[0]);
    if (shown) {
      return html`<ulogger-device-timeline
        .context=${this.context}
        .device=${shown}
      ></ulogger-device-timeline>`;
    }
    if (devices.length === 0) return html`<p class="empty">${localize("no_devices")}</p>`;
    const names = [...new Set(devices.flatMap(({ metrics }) => metrics.map(({ name }) => name)))];
    const metric = this.metric || names.find((name) => /batt|vbat/i.test(name)) || names[0];
    return html`${this.bar(devices)}${this.table(devices, names.sort(), metric)}`;
  }

  private bar(devices: readonly Device[]): TemplateResult {
    const { localize, client } = this.context;
    const ids = [...this.selected];
    const none = ids.length === 0;
    const chosen = devices.filter(({ device }) => this.selected.has(device));
    const offersLive = chosen.filter(({ live }) => live !== null);
    const isLive = offersLive.some(({ live }) => live);
    return html`
      <div class="bar">
        <span role="status">
          ${this.said || (none ? nothing : localize("selected", { count: ids.length }))}
        </span>
        <button
          class="primary"
          data-action="collect"
          ?disabled=${none}
          @click=${() => void this.asked(ids.length, client.act("upload", ids))}
        >
          ${localize("collect_now")}
        </button>
        <select
          data-action="level"
          aria-label=${localize("set_level")}
          ?disabled=${none}
          @change=${(event: Event) => {
            const select = event.target as HTMLSelectElement;
            void this.asked(
              ids.length,
              client.act("set_log_level", ids, { level: select.value, duration: 3600 }),
            );
            select.value = "";
          }}
        >
          <option value="" selected>${localize("set_level")}</option>
          ${SEVERITIES.map((level) => html`<option value=${level}>${localize(level)}</option>`)}
        </select>
        ${
          offersLive.length
            ? html`<button
                data-action="live"
                @click=${() =>
                  void this.asked(
                    offersLive.length,
                    client.setLive(
                      offersLive.map(({ device }) => device),
                      !isLive,
                    ),
                  )}
              >
                ${localize(isLive ? "live_off" : "live_on")}
              </button>`
            : nothing
        }
      </div>
    `;
  }

  /** Says what was asked for, and what came of it where that failed. */
  private async asked(count: number, doing: Promise<void>): Promise<void> {
    const { localize } = this.context;
    this.said = localize("asked", { count });
    try {
      await doing;
    } catch (error) {
      this.said = localize("failed", { reason: reason(error) });
    }
  }

  private table(
    devices: readonly Device[],
    names: readonly string[],
    metric: string | undefined,
  ): TemplateResult {
    const { localize } = this.context;
    const heads = [
      "state",
      "version",
      "has_image",
      "last_contact",
      "signal",
      "errors_24h",
      "crashes_24h",
      "waiting",
      "next_collection",
    ] as const;
    const all = devices.every(({ device }) => this.selected.has(device));
    return html`
      <div class="card">
        <table>
          <thead>
            <tr>
              <th>
                <input
                  type="checkbox"
                  aria-label=${localize("select_all")}
                  .checked=${all}
                  @change=${() => {
                    this.selected = new Set(all ? [] : devices.map(({ device }) => device));
                  }}
                />
              </th>
              <th scope="col">${localize("device")}</th>
              ${heads.map((head) => html`<th scope="col">${localize(head)}</th>`)}
              <th>
                ${
                  names.length
                    ? html`<select
                        aria-label=${localize("metrics")}
                        @change=${(event: Event) => {
                          this.metric = (event.target as HTMLSelectElement).value;
                        }}
                      >
                        ${names.map(
                          (name) =>
                            html`<option value=${name} ?selected=${name === metric}>
                              ${name}
                            </option>`,
                        )}
                      </select>`
                    : localize("metrics")
                }
              </th>
            </tr>
          </thead>
          <tbody>
            ${devices.map((device) => this.row(device, metric))}
          </tbody>
        </table>
      </div>
    `;
  }

  private row(device: Device, metric: string | undefined): TemplateResult {
    const { localize, nameOf, times, go } = this.context;
    const name = nameOf(device.device);
    const path = `devices/${device.device}`;
    const waiting = device.waiting.filter(({ waiting: count }) => count > 0);
    const count = (key: "errors_24h" | "crashes_24h"): TemplateResult =>
      html`<td data-label=${localize(key)} class=${device[key] > 0 ? "bad" : ""}>
        ${device[key]}
      </td>`;
    return html`
      <tr>
        <td>
          <input
            type="checkbox"
            aria-label=${localize("select", { name })}
            .checked=${this.selected.has(device.device)}
            @change=${() => {
              const selected = new Set(this.selected);
              if (!selected.delete(device.device)) selected.add(device.device);
              this.selected = selected;
            }}
          />
        </td>
        <td>
          <a
            href=${path}
            @click=${(event: Event) => {
              event.preventDefault();
              go(path);
            }}
            >${name}</a
          >
          ${name.includes(device.serial) ? nothing : html`<div class="muted">${device.serial}</div>`}
        </td>
        <td>
          ${localize(`is_${device.state}`)}
          ${
            device.progress === null
              ? nothing
              : html`<progress
                  max="1"
                  value=${device.progress}
                  aria-label=${localize(`is_${device.state}`)}
                ></progress>`
          }
        </td>
        <td data-label=${localize("version")}>${device.version}</td>
        <td data-label=${localize("has_image")}>${localize(device.has_image ? "yes" : "no")}</td>
        <td data-label=${localize("last_contact")}>
          ${device.last_seen === null ? localize("unknown") : times.relative(device.last_seen)}
        </td>
        <td data-label=${localize("signal")}>
          ${device.rssi === null || !device.in_range ? "–" : `${String(device.rssi)} dBm`}
        </td>
        ${count("errors_24h")} ${count("crashes_24h")}
        <td data-label=${localize("waiting")}>
          ${
            waiting.length === 0
              ? "0"
              : waiting.map((each) => html`<div>${each.name}: ${each.waiting}</div>`)
          }
        </td>
        <td data-label=${localize("next_collection")}>
          ${device.next_collection === null ? "–" : times.relative(device.next_collection)}
        </td>
        <td>${this.measured(device, metric)}</td>
      </tr>
    `;
  }

  private measured(device: Device, metric: string | undefined): TemplateResult | typeof nothing {
    const series = device.metrics.find(({ name }) => name === metric);
    const last = series?.points.at(-1);
    if (!series || !last) return nothing;
    const [at, values] = [series.points.map(([when]) => when), series.points.map(([, v]) => v)];
    return html`
      ${last[1]} ${series.unit ?? nothing}
      ${
        values.length > 1
          ? html`<ulogger-chart
              .chart=${sparkline(values, at)}
              .dark=${this.context.isDark()}
              label=${series.name}
            ></ulogger-chart>`
          : nothing
      }
    `;
  }
}
