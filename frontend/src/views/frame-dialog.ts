import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { reason } from "../api/client";
import type { Frame, FrameDetails } from "../api/messages";
import { hex } from "../model/times";
import { shared } from "../styles";
import type { PanelContext } from "./context";
import "./dialog";

/** All that is known of one frame; fires `closed`. */
@customElement("ulogger-frame-dialog")
export class FrameDialog extends LitElement {
  @property({ attribute: false }) context!: PanelContext;
  @property({ attribute: false }) frame!: Frame;
  @state() private details?: FrameDetails;
  @state() private failure: string | null = null;

  static override styles = [
    shared,
    css`
      dl {
        display: grid;
        grid-template-columns: minmax(90px, auto) 1fr;
        gap: 6px 16px;
        margin: 0 0 16px;
      }
      dt {
        color: var(--secondary-text-color);
      }
      dd {
        margin: 0;
      }
      ol {
        list-style: none;
        margin: 8px 0 0;
        padding: 0;
      }
      li {
        padding: 3px 6px;
      }
      li[aria-current] {
        background: color-mix(in srgb, var(--primary-color) 18%, transparent);
        border-radius: 6px;
      }
    `,
  ];

  protected override willUpdate(changed: Map<string, unknown>): void {
    if (changed.has("frame")) void this.load();
  }

  private async load(): Promise<void> {
    try {
      this.details = await this.context.client.frame(this.frame.key);
    } catch (error) {
      this.failure = reason(error);
    }
  }

  protected override render(): TemplateResult {
    const { localize, nameOf, times } = this.context;
    const { frame } = this;
    return html`
      <ulogger-dialog heading=${localize("details_of")} closeLabel=${localize("close")}>
        <p class="mono">${frame.message}</p>
        <dl>
          <dt>${localize("time")}</dt>
          <dd>${times.exact(frame.at)} ${this.uncertainty()}</dd>
          <dt>${localize("device")}</dt>
          <dd>${nameOf(frame.device)}</dd>
          <dt>${localize("level")}</dt>
          <dd><span class="level ${frame.level}">${localize(frame.level)}</span></dd>
          <dt>${localize("module")}</dt>
          <dd>
            ${frame.module_name === null ? frame.module : `${frame.module_name} (${frame.module})`}
          </dd>
          <dt>${localize("firmware")}</dt>
          <dd>${frame.firmware}</dd>
          ${this.details ? this.known(this.details) : nothing}
        </dl>
        ${
          this.failure === null
            ? nothing
            : html`<p class="failed">${localize("failed", { reason: this.failure })}</p>`
        }
        ${this.details ? this.neighbours(this.details) : nothing}
      </ulogger-dialog>
    `;
  }

  private uncertainty(): TemplateResult {
    const { localize } = this.context;
    const { uncertainty } = this.frame;
    const said =
      uncertainty === null
        ? localize("when_arrived")
        : localize("uncertain", { seconds: Number(uncertainty.toPrecision(2)) });
    return html`<span class="muted">(${said})</span>`;
  }

  private known(details: FrameDetails): TemplateResult {
    const { localize } = this.context;
    return html`
      <dt>${localize("address")}</dt>
      <dd class="mono">${hex(details.address)}</dd>
      ${
        details.format === null
          ? nothing
          : html`<dt>${localize("format")}</dt>
              <dd class="mono">${details.format}</dd>`
      }
      ${
        details.places.length === 0
          ? nothing
          : html`<dt>${localize("logged_in")}</dt>
              <dd class="mono">
                ${details.places.map(
                  ({ function: name, location }) =>
                    html`<div>${location === null ? name : `${name} (${location})`}</div>`,
                )}
              </dd>`
      }
      ${
        details.arguments.length === 0
          ? nothing
          : html`<dt>${localize("arguments")}</dt>
              <dd class="mono">
                ${details.arguments.map(({ type, value }) => html`<div>${type} ${value}</div>`)}
              </dd>`
      }
      <dt>${localize("capture")}</dt>
      <dd>
        ${details.frame.capture} ·
        <a href=${details.download} download>${localize("download")}</a>
      </dd>
    `;
  }

  private neighbours({ before, frame, after }: FrameDetails): TemplateResult {
    const { localize, times } = this.context;
    const line = (each: Frame): TemplateResult => html`
      <li class="mono" aria-current=${each.key === frame.key ? "true" : nothing}>
        ${times.exact(each.at)}
        <span class="level ${each.level}">${localize(each.level)}</span>
        ${each.module_name ?? each.module}: ${each.message}
      </li>
    `;
    return html`
      <h3>${localize("neighbours")}</h3>
      <ol>
        ${[...before, frame, ...after].map(line)}
      </ol>
    `;
  }
}
