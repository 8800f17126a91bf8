// From a component to an anywidget module: theme, words, traits, and one channel a view.
import type { AnyModel, AnyWidget } from "@anywidget/types";
import { type ComponentType, createContext, render } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { Channel } from "./channel";
import "../theme.css";
import "./controls.css";

interface Place {
  model: AnyModel;
  channel: Channel;
}

const Here = createContext<Place>(null as unknown as Place);

export function useChannel(): Channel {
  return useContext(Here).channel;
}

/** A trait of the Python class, and a way to set it; both sides see each other's changes. */
export function useTrait<T>(name: string): [T, (value: T) => void] {
  const { model } = useContext(Here);
  const [value, setValue] = useState<T>(model.get(name));
  useEffect(() => {
    const change = () => setValue(() => model.get(name));
    change();
    model.on(`change:${name}`, change);
    return () => model.off(`change:${name}`, change);
  }, [model, name]);
  return [
    value,
    (wanted: T) => {
      model.set(name, wanted);
      model.save_changes();
    },
  ];
}

/** An id that no other element of the page has: each widget is a module of its own, and would count from 1. */
export function useUnique(name: string): string {
  const [id] = useState(() => `${name}-${Math.random().toString(36).slice(2)}`);
  return id;
}

interface Words {
  /** A text in the learner's language, its {names} filled in. */
  t(text: string, values?: Record<string, string | number>): string;
  /** A text that depends on a number, which its {n} shows. */
  tn(one: string, many: string, count: number): string;
}

/** The words of the learner's language; English texts are the keys. */
export function useWords(): Words {
  const [strings] = useTrait<Record<string, string>>("strings");
  const [language] = useTrait<string>("language");
  const fill = (text: string, values: Record<string, string | number>) =>
    text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  return {
    t: (text, values = {}) => fill(strings[text] ?? text, values),
    tn: (one, many, count) =>
      fill(strings[one] ?? (count === 1 ? one : many), { n: count.toLocaleString(language) }),
  };
}

/** An anywidget module that draws `App`. Its own rules begin with `.sl.sl-view-NAME`: several widgets are in one
 *  page, each with the shared rules, and what stands later must not win. */
export function widget(App: ComponentType, name: string): AnyWidget {
  return {
    render({ model, el }) {
      const channel = new Channel(model);
      const speak = () => el.setAttribute("lang", model.get("language"));
      speak();
      model.on("change:language", speak);
      el.classList.add("sl", `sl-view-${name}`);
      // JupyterLab's keys for cells (arrows; D, D deletes one) are not meant here. It looks at the focused
      // element before any that holds it, so that one must say so itself.
      const own = (event: FocusEvent) =>
        (event.target as HTMLElement).setAttribute("data-lm-suppress-shortcuts", "true");
      el.addEventListener("focusin", own);
      render(
        <Here.Provider value={{ model, channel }}>
          <App />
        </Here.Provider>,
        el,
      );
      return () => {
        model.off("change:language", speak);
        el.removeEventListener("focusin", own);
        channel.close();
        render(null, el);
      };
    },
  };
}
