import { LitElement } from "lit";
import { customElement } from "lit/decorators.js";

@customElement("ulogger-devices-view")
export class X extends LitElement {}
