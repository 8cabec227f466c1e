/** What each device reads and writes, a line for each. */
import { formatSize } from '../input/size.js';
import type { Mark } from './marks.js';
import type { TimeData } from './run-data.js';
import { runColour } from './theme.js';
import { TimeChart } from './time-chart.js';

export class DeviceChart {
  private chart: TimeChart | null = null;
  private addresses = '';
  private marks: readonly Mark[] = [];

  /** @param parent where it is put, once there is something to draw */
  constructor(private readonly parent: HTMLElement) {}

  /** Its lines are made anew where there are other devices. */
  set({ devices, seconds }: TimeData): void {
    if (devices.length === 0) return;
    const addresses = devices.map(({ address }) => address).join(' ');
    if (addresses !== this.addresses) {
      this.addresses = addresses;
      this.destroy();
      this.chart = new TimeChart({
        id: 'devices',
        title: 'DMA of each device per second',
        sets: devices.map(({ address }, index) => ({
          name: '',
          lines: [{ name: address, colour: runColour(index), width: 1.8 }],
        })),
        unit: (bytes) => `${formatSize(bytes)}/s`,
        binary: true,
      });
      this.parent.append(this.chart.root);
    }
    this.chart!.mark(this.marks);
    this.chart!.set(devices.map(({ bytes }) => ({ seconds, values: [bytes] })));
  }

  mark(marks: readonly Mark[]): void {
    this.marks = marks;
    this.chart?.mark(marks);
  }

  destroy(): void {
    this.chart?.destroy();
    this.chart?.root.remove();
  }
}
