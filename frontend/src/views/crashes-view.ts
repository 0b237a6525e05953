import { LitElement } from "lit";
import { customElement } from "lit/decorators.js";

@customElement("ulogger-crashes-view")
export class X extends LitElement {}
