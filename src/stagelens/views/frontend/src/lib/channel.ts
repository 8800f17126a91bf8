// Requests to the kernel and its answers; the other end is stagelens/views/base.py.
import type { AnyModel } from "@anywidget/types";

/** A StagelensError as the kernel tells it. */
export interface Told {
  what: string;
  where?: string;
  why?: string;
  remedy?: string;
}

export class Refused extends Error {
  constructor(readonly told: Told) {
    super(told.what);
  }
}

/** The kernel that made this widget has ended, or was restarted. */
export class Gone extends Error {}

type Message =
  | { type: "event"; name: string; value: unknown }
  | { type: "answer"; id: number; value?: unknown; error?: Told };

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class Channel {
  private waiting = new Map<number, Waiting>();
  private listeners = new Map<string, (value: unknown) => void>();
  // Views of one model share its messages: ids must not meet.
  private next = Math.floor(Math.random() * 2 ** 40) * 1000;

  constructor(private model: AnyModel) {
    model.on("msg:custom", this.take);
  }

  request<T>(name: string, given: Record<string, unknown> = {}): Promise<T> {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      try {
        this.model.send({ type: "request", id, name, arguments: given });
      } catch {
        this.waiting.delete(id);
        reject(new Gone());
      }
    });
  }

  /** Take the kernel's events of this name; one listener a name. */
  listen<T>(name: string, listener: (value: T) => void): () => void {
    this.listeners.set(name, listener as (value: unknown) => void);
    return () => this.listeners.delete(name);
  }

  close(): void {
    this.model.off("msg:custom", this.take);
    this.waiting.clear();
  }

  private take = (message: Message | null): void => {
    if (message?.type === "event") this.listeners.get(message.name)?.(message.value);
    if (message?.type !== "answer") return;
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) waiting?.reject(new Refused(message.error));
    else waiting?.resolve(message.value);
  };
}
