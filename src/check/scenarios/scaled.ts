/** Scenarios that can be about more pages and devices than they are. */
import type { Flow } from '../../flow/flow.js';
import type { Scenario } from '../world/scenario.js';
import type { Size } from '../world/scenario-world.js';
import type { World } from '../world/world.js';
import type { DeviceSpec } from '../world/world-options.js';

type Grown = ReturnType<NonNullable<Scenario['scaled']>>;

/** A scenario as it is at its own size, and at any above. */
export function scalable(
  about: Pick<Scenario, 'name' | 'about' | 'rows'>,
  own: Size,
  scaled: (size: Size) => Grown,
): Scenario {
  return { ...about, ...scaled(own), scaled };
}

/** `device`, or `device 1`, `device 2`: an actor for each device, which it gets by its place. */
export function eachDevice(
  devices: number,
  act: (world: World, device: number) => Flow<unknown>,
  noun = 'device',
): Scenario['actors'] {
  const actors: Record<string, (world: World) => Flow<unknown>> = {};
  for (let i = 0; i < devices; i++)
    actors[devices === 1 ? noun : `${noun} ${i + 1}`] = (world) => act(world, i);
  return actors;
}

/** Devices of which the first is as it is, and each other as given. */
export function devicesOf(devices: number, others: DeviceSpec = {}): DeviceSpec[] {
  return Array.from({ length: devices }, (_, i) => (i === 0 ? {} : others));
}
