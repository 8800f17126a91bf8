// Requests to the kernel and its answers; the other end is stagelens/views/base.py.
import type { AnyModel } from "@anywidget/types";

/** The parts of a StagelensError. */
export interface ErrorInfo {
  what: string;
  where?: string;
  why?: string;
  remedy?: string;
}

/** The kernel answered a request with an error. */
export class RequestFailed extends Error {
  constructor(readonly info: ErrorInfo) {
    super(info.what);
  }
}

/** The kernel of this widget has stopped or was restarted. */
export class KernelGone extends Error {}

type Message =
  | { type: "event"; name: string; value: unknown }
  | { type: "answer"; id: number; value?: unknown; error?: ErrorInfo };

interface PendingRequest {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Channel {
  private pending = new Map<number, PendingRequest>();
  private listeners = new Map<string, (value: unknown) => void>();
  // All views of a model receive its messages, so each view counts from a random number.
  private nextId = Math.floor(Math.random() * 2 ** 40) * 1000;

  constructor(private model: AnyModel) {
    model.on("msg:custom", this.onMessage);
  }

  request<T>(name: string, args: Record<string, unknown> = {}): Promise<T> {
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      try {
        this.model.send({ type: "request", id, name, arguments: args });
      } catch {
        this.pending.delete(id);
        reject(new KernelGone());
      }
    });
  }

  /** Listen to the kernel's events of a name, which has one listener; returns a function that removes it. */
  listen<T>(name: string, listener: (value: T) => void): () => void {
    this.listeners.set(name, listener as (value: unknown) => void);
    return () => this.listeners.delete(name);
  }

  close(): void {
    this.model.off("msg:custom", this.onMessage);
    this.pending.clear();
  }

  private onMessage = (message: Message | null): void => {
    if (message?.type === "event") this.listeners.get(message.name)?.(message.value);
    if (message?.type !== "answer") return;
    const request = this.pending.get(message.id);
    this.pending.delete(message.id);
    if (message.error) request?.reject(new RequestFailed(message.error));
    else request?.resolve(message.value);
  };
}
