import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { reason } from "../api/client";
import type { BacktraceFrame, CrashDetails, Frame } from "../api/messages";
import { hex } from "../model/times";
import { shared } from "../styles";
import type { TextKey } from "../texts";
import type { PanelContext } from "./context";
import "./hex-view";

/** What happened in one crash: fault, backtrace, registers, memory, what was logged before. */
@customElement("ulogger-crash-details")
export class CrashDetailsView extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property() account = "";
  @property({ attribute: false }) capture = 0;
  @state() private details?: CrashDetails;
  @state() private failure: string | null = null;
  @state() private said: string | null = null;

  static override styles = [
    shared,
    css`
      :host {
        display: grid;
        gap: 16px;
        min-width: 0;
      }
      section {
        padding: 12px 16px;
      }
      h3 {
        margin-bottom: 8px;
      }
      ol {
        margin: 0;
        padding-inline-start: 24px;
        overflow-wrap: anywhere;
      }
      ol.plain {
        list-style: none;
        padding: 0;
      }
      .registers {
        display: grid;
        grid-template-columns: repeat(auto-fill, minmax(160px, 1fr));
        gap: 4px 16px;
      }
      .links {
        display: flex;
        flex-wrap: wrap;
        gap: 6px 20px;
        margin-top: 8px;
      }
    `,
  ];

  protected override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("capture") || changed.has("account")) void this.load();
  }

  private async load(): Promise<void> {
    const { account, capture } = this;
    try {
      const details = await this.context.client.crash(account, capture);
      if (account !== this.account || capture !== this.capture) return;
      this.details = details;
      this.failure = null;
    } catch (error) {
      this.failure = reason(error);
    }
  }

  protected override render(): TemplateResult | typeof nothing {
    const { localize } = this.context;
    if (this.failure !== null) {
      return html`<p class="failed">${localize("failed", { reason: this.failure })}</p>`;
    }
    const { details } = this;
    if (!details) return nothing;
    return html`
      ${details.has_image ? nothing : this.withoutImage(details)}
      ${this.said === null ? nothing : html`<p role="status">${this.said}</p>`}
      ${this.fault(details)} ${this.backtrace(details.backtrace)}
      ${details.led_to_it.length ? this.ledToIt(details.led_to_it) : nothing}
      <section class="card">
        <h3>${localize("registers")}</h3>
        <div class="registers mono">
          ${Object.entries(details.registers).map(
            ([name, value]) => html`<span>${name} ${hex(value)}</span>`,
          )}
        </div>
      </section>
      ${
        details.memory.length
          ? html`<section class="card">
              <h3>${localize("memory")}</h3>
              ${details.memory.map(
                (memory) =>
                  html`<ulogger-hex-view
                    .memory=${memory}
                    .symbols=${details.symbols}
                  ></ulogger-hex-view>`,
              )}
            </section>`
          : nothing
      }
    `;
  }

  private fault(details: CrashDetails): TemplateResult {
    const { crash, localize, times } = this.context;
    const { occurrence } = details;
    return html`
      <section class="card">
        <h3>${crash(occurrence.fault_kind, occurrence.place, details.fault)}</h3>
        <div>
          ${occurrence.device_name} · ${times.full(occurrence.at)} · ${localize("version")}
          ${occurrence.version} <span class="muted">${details.git_hash}</span>
        </div>
        ${
          details.fault_address === null
            ? nothing
            : html`<div>
                ${localize("fault_address")}:
                <span class="mono">${hex(details.fault_address)}</span>
              </div>`
        }
        ${
          details.bits.length
            ? html`<h3 style="margin-top: 12px">${localize("fault_bits")}</h3>
                <ul style="margin: 0">
                  ${details.bits.map(
                    (bit) =>
                      html`<li>
                        <span class="mono">${bit.register}.${bit.name} (${bit.bit})</span>
                        ${localize(`bit_${bit.name}` as TextKey)}
                      </li>`,
                  )}
                </ul>`
            : nothing
        }
        <div class="links">
          <a href=${details.download} download>${localize("download")}</a>
          ${
            details.core === null
              ? nothing
              : html`<a href=${details.core} download>${localize("download_core")}</a>`
          }
        </div>
      </section>
    `;
  }

  private backtrace(frames: readonly BacktraceFrame[]): TemplateResult {
    const { localize } = this.context;
    return html`
      <section class="card">
        <h3>${localize("backtrace")}</h3>
        <ol class="mono">
          ${frames.map(
            (frame) => html`
              <li>
                ${frame.function ?? hex(frame.address)}
                ${frame.location === null ? nothing : html`(${frame.location})`}
                <span class="muted">
                  ${frame.function === null ? nothing : hex(frame.address)}
                  ${frame.inlined ? localize("inlined") : nothing}
                  ${frame.certainty === "candidate" ? localize("candidate") : nothing}
                </span>
              </li>
            `,
          )}
        </ol>
      </section>
    `;
  }

  private ledToIt(frames: readonly Frame[]): TemplateResult {
    const { localize, times } = this.context;
    return html`
      <section class="card">
        <h3>${localize("led_to_it")}</h3>
        <ol class="plain">
          ${frames.map(
            (frame) => html`
              <li class="mono">
                ${times.exact(frame.at)}
                <span class="level ${frame.level}">${localize(frame.level)}</span>
                ${frame.module_name ?? frame.module}: ${frame.message}
              </li>
            `,
          )}
        </ol>
      </section>
    `;
  }

  private withoutImage({ occurrence }: CrashDetails): TemplateResult {
    const { localize } = this.context;
    return html`
      <section class="card">
        <p>${localize("no_image", { version: occurrence.version })}</p>
        <label>
          ${localize("add_image")}
          <input type="file" data-action="image" @change=${this.imageChosen} />
        </label>
      </section>
    `;
  }

  private readonly imageChosen = async (event: Event): Promise<void> => {
    const [file] = (event.target as HTMLInputElement).files ?? [];
    if (!file) return;
    try {
      await this.context.client.addImage(this.account, file, this.capture);
      this.said = this.context.localize("image_added");
      await this.load();
    } catch (error) {
      this.said = this.context.localize("failed", { reason: reason(error) });
    }
  };
}
