// Makes an anywidget module of a component: theme, translation, traits, and one channel for each view.
import type { AnyModel, AnyWidget } from "@anywidget/types";
import { type ComponentType, createContext, render } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { Channel } from "./channel";
import "../theme.css";
import "./controls.css";

interface View {
  model: AnyModel;
  channel: Channel;
}

const ViewContext = createContext<View>(null as unknown as View);

export function useChannel(): Channel {
  return useContext(ViewContext).channel;
}

/** A trait of the Python class and its setter; each side sees the other's changes. */
export function useTrait<T>(name: string): [T, (value: T) => void] {
  const { model } = useContext(ViewContext);
  const [value, setValue] = useState<T>(model.get(name));
  useEffect(() => {
    const update = () => setValue(() => model.get(name));
    update();
    model.on(`change:${name}`, update);
    return () => model.off(`change:${name}`, update);
  }, [model, name]);
  const save = (newValue: T) => {
    model.set(name, newValue);
    model.save_changes();
  };
  return [value, save];
}

/** An element id that is unique in the page. A counter would not be: each widget is a module with its own. */
export function useUniqueId(name: string): string {
  const [id] = useState(() => `${name}-${Math.random().toString(36).slice(2)}`);
  return id;
}

interface Translation {
  /** Translate a text and fill in its {names}. */
  t(text: string, values?: Record<string, string | number>): string;
  /** Translate a text that depends on a number, and fill in {n}. */
  tn(one: string, many: string, count: number): string;
}

/** Translate into the widget's language; the English texts are the keys. */
export function useTranslation(): Translation {
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

/** An anywidget module that renders `App`. A page may hold several widgets, each with the shared rules, so the
 *  rules of one widget begin with `.sl.sl-view-NAME`: they win over shared rules that come later. */
export function widget(App: ComponentType, name: string): AnyWidget {
  return {
    render({ model, el }) {
      const channel = new Channel(model);
      const updateLanguage = () => el.setAttribute("lang", model.get("language"));
      updateLanguage();
      model.on("change:language", updateLanguage);
      el.classList.add("sl", `sl-view-${name}`);
      // Keep JupyterLab's keyboard shortcuts for cells (arrows; D, D deletes a cell) out of the widget. JupyterLab
      // checks the focused element before its ancestors, so the attribute must be on that element.
      const suppressShortcuts = (event: FocusEvent) =>
        (event.target as HTMLElement).setAttribute("data-lm-suppress-shortcuts", "true");
      el.addEventListener("focusin", suppressShortcuts);
      render(
        <ViewContext.Provider value={{ model, channel }}>
          <App />
        </ViewContext.Provider>,
        el,
      );
      return () => {
        model.off("change:language", updateLanguage);
        el.removeEventListener("focusin", suppressShortcuts);
        channel.close();
        render(null, el);
      };
    },
  };
}
