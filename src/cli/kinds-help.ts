import { deviceKinds } from '../device/kinds.js';

/** For `--help` of exec. */
export function kindsHelp(): string {
  const lines = [...deviceKinds.values()].map((kind) => {
    const keys = Object.entries(kind.options).map(
      ([key, about]) => `      ${key}=  ${String(about)}`,
    );
    return [`  ${kind.name}  ${kind.summary}`, ...keys].join('\n');
  });
  return `\nDevices (each also takes fault=on|off: whether it can take I/O page faults):\n${lines.join('\n')}\n`;
}
