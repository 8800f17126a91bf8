import type { AnyModel } from "@anywidget/types";
import { expect, test, vi } from "vitest";
import { Channel, KernelGone, RequestFailed } from "./channel";

/** A model whose kernel is the test: `sent` has the messages, `answer` delivers one from the kernel. */
function connect(send?: () => void) {
  const sent: { id: number; name: string; arguments: object }[] = [];
  const callbacks = new Set<(message: unknown) => void>();
  const model = {
    on: (_: string, callback: (message: unknown) => void) => callbacks.add(callback),
    off: (_: string, callback: (message: unknown) => void) => callbacks.delete(callback),
    send: send ?? ((message: (typeof sent)[0]) => sent.push(message)),
  };
  const answer = (message: unknown) => {
    for (const callback of callbacks) callback(message);
  };
  return { channel: new Channel(model as unknown as AnyModel), sent, answer };
}

test("answers reach their requests in any order", async () => {
  const { channel, sent, answer } = connect();
  const first = channel.request("list", { paths: null });
  const second = channel.request("content");
  expect(sent.map(({ name }) => name)).toEqual(["list", "content"]);
  expect(sent[0].arguments).toEqual({ paths: null });
  answer({ type: "answer", id: sent[1].id, value: 2 });
  answer({ type: "answer", id: sent[0].id, value: 1 });
  expect(await Promise.all([first, second])).toEqual([1, 2]);
});

test("a kernel's error rejects the request with its parts", async () => {
  const { channel, sent, answer } = connect();
  const request = channel.request("list");
  const error = { what: "No such file.", where: "/app" };
  answer({ type: "answer", id: sent[0].id, error });
  await expect(request).rejects.toBeInstanceOf(RequestFailed);
  await expect(request).rejects.toMatchObject({ message: "No such file.", info: error });
});

test("a request without a kernel is rejected", async () => {
  const { channel } = connect(() => {
    throw new Error("the comm is closed");
  });
  await expect(channel.request("list")).rejects.toBeInstanceOf(KernelGone);
});

test("events reach their listener until it is removed", () => {
  const { channel, answer } = connect();
  const listener = vi.fn();
  const remove = channel.listen("log", listener);
  answer({ type: "event", name: "log", value: 1 });
  answer({ type: "event", name: "other", value: 2 });
  remove();
  answer({ type: "event", name: "log", value: 3 });
  expect(listener.mock.calls).toEqual([[1]]);
});

test("messages of other kinds and late answers are ignored", () => {
  const { channel, sent, answer } = connect();
  void channel.request("list");
  channel.close();
  for (const message of [null, {}, { type: "answer", id: -1 }, { type: "answer", id: sent[0].id }])
    expect(() => answer(message)).not.toThrow();
});

test("two channels of one model never share a request id", async () => {
  const ids = await Promise.all(
    [connect(), connect()].map(({ channel, sent }) => {
      void channel.request("list");
      return sent[0].id;
    }),
  );
  expect(ids[0]).not.toBe(ids[1]);
});
