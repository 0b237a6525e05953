import { css, html, LitElement, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import { Client } from "./api/client";
import type { Hass, Route } from "./hass";
import { times } from "./model/times";
import { shared } from "./styles";
import { loadTexts, type Localize, nearest, type TextKey } from "./texts";
import "./views/crashes-view";
import "./views/devices-view";
import "./views/logs-view";
import { PanelContext } from "./views/context";

const VIEWS = ["logs", "crashes", "devices"] as const;
type View = (typeof VIEWS)[number];

/** The panel: a header with the three views, and the view that the URL names. */
@customElement("ulogger-panel")
export class UloggerPanel extends LitElement {
  @property({ attribute: false }) hass!: Hass;
  @property({ attribute: false }) route: Route = { prefix: "", path: "" };
  @property({ type: Boolean, reflect: true }) narrow = false;
  @state() private localize?: Localize;
  private context?: PanelContext;
  private language = "";
  private readonly client = new Client(() => this.hass);

  static override styles = [
    shared,
    css`
      :host {
        display: flex;
        flex-direction: column;
        height: 100vh;
        height: 100dvh;
        background: var(--primary-background-color);
      }
      header {
        display: flex;
        align-items: center;
        gap: 8px;
        min-height: var(--header-height, 56px);
        padding: 0 12px;
        background: var(--app-header-background-color);
        color: var(--app-header-text-color, var(--text-primary-color));
        border-bottom: var(--app-header-border-bottom, none);
      }
      h1 {
        margin: 0;
        font-size: 20px;
        font-weight: 400;
        white-space: nowrap;
        overflow: hidden;
        text-overflow: ellipsis;
      }
      header button {
        background: none;
        border: none;
        color: inherit;
        min-width: 44px;
        font-size: 22px;
        line-height: 1;
      }
      nav {
        display: flex;
        margin-left: auto;
        align-self: stretch;
      }
      nav a {
        display: flex;
        align-items: center;
        padding: 0 14px;
        color: inherit;
        text-decoration: none;
        border-bottom: 3px solid transparent;
      }
      nav a[aria-current] {
        border-bottom-color: currentcolor;
        font-weight: 500;
      }
      main {
        flex: 1;
        min-height: 0;
        display: flex;
        flex-direction: column;
      }
      :host([narrow]) header {
        flex-wrap: wrap;
        padding-bottom: 0;
      }
      :host([narrow]) nav {
        width: 100%;
        min-height: 44px;
        justify-content: space-around;
      }
    `,
  ];

  protected override willUpdate(changed: Map<string, unknown>): void {
    const before = changed.get("hass") as Hass | undefined;
    const { language, locale, config, devices } = this.hass;
    if (nearest(language) !== this.language) void this.speak(nearest(language));
    if (!this.localize) return;
    const same =
      this.context?.localize === this.localize &&
      (!before ||
        (before.language === language &&
          before.locale === locale &&
          before.config === config &&
          before.devices === devices));
    if (same) return;
    this.context = new PanelContext(
      this.client,
      this.localize,
      times(this.hass),
      devices,
      () => Boolean(this.hass.themes?.darkMode),
      (path, replace) => {
        this.go(path, replace);
      },
      (key) => this.hass.localize(`component.ulogger.${key}`),
    );
  }

  private async speak(language: string): Promise<void> {
    this.language = language;
    const [localize] = await Promise.all([
      loadTexts(language),
      ...["entity", "exceptions"].map((each) => this.hass.loadBackendTranslation(each, "ulogger")),
    ]);
    if (this.language === language) this.localize = localize;
  }

  private get view(): View {
    return VIEWS.find((view) => view === this.parts[0]) ?? "logs";
  }

  private get parts(): string[] {
    return this.route.path.split("/").filter(Boolean).map(decodeURIComponent);
  }

  private go(path: string, replace = false): void {
    const url = `${this.route.prefix}/${path}`;
    if (replace) history.replaceState(history.state, "", url);
    else history.pushState(null, "", url);
    window.dispatchEvent(new CustomEvent("location-changed", { detail: { replace } }));
  }

  protected override render(): TemplateResult | typeof nothing {
    if (!this.context) return nothing;
    const { localize } = this.context;
    const link = (view: View): TemplateResult => html`
      <a
        href="${this.route.prefix}/${view}"
        aria-current=${this.view === view ? "page" : nothing}
        @click=${(event: MouseEvent) => {
          if (event.ctrlKey || event.metaKey || event.shiftKey) return;
          event.preventDefault();
          this.go(view);
        }}
        >${localize(view satisfies TextKey)}</a
      >
    `;
    return html`
      <header>
        ${
          this.narrow
            ? html`<button aria-label=${localize("menu")} @click=${this.toggleMenu}>☰</button>`
            : nothing
        }
        <h1>${localize("title")}</h1>
        <nav>${VIEWS.map(link)}</nav>
      </header>
      <main>${this.renderView(this.context)}</main>
    `;
  }

  private renderView(context: PanelContext): TemplateResult {
    const [, ...rest] = this.parts;
    switch (this.view) {
      case "crashes":
        return html`<ulogger-crashes-view
          .context=${context}
          .path=${rest}
          ?narrow=${this.narrow}
        ></ulogger-crashes-view>`;
      case "devices":
        return html`<ulogger-devices-view
          .context=${context}
          .path=${rest}
          ?narrow=${this.narrow}
        ></ulogger-devices-view>`;
      case "logs":
        return html`<ulogger-logs-view
          .context=${context}
          ?narrow=${this.narrow}
        ></ulogger-logs-view>`;
    }
  }

  private readonly toggleMenu = (): void => {
    this.dispatchEvent(new Event("hass-toggle-menu", { bubbles: true, composed: true }));
  };
}
