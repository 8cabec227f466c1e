/**
 * The mappings that a server was told of (DMA_MAP), and how it gets at their memory.
 *
 * Three ways, the first that is there: a descriptor of the file that the memory is of; one of all
 * the memory of its process, to read and write at its addresses (FILE_IO); messages, which go
 * through the IOMMU, and may fault. What may fault is not given by FILE_IO.
 */
import { ArgumentBuffer } from '../../abi/argument-buffer.js';
import type { MappingListener } from '../../ioas/io-space.js';
import type { Mapping } from '../../ioas/mapping.js';
import { PAGE_SIZE } from '../../mm/address-space.js';
import { Command, UserDmaFlag } from '../../vfio-user/protocol.js';
import { UserDmaMap, UserDmaUnmap } from '../../vfio-user/structs.js';
import type { Client } from './client.js';
import type { MemoryFile, PeerHost } from './host.js';

/** `dma=`: which of the ways are open. */
export const dmaWays = ['auto', 'shared', 'messages'] as const;
export type DmaWay = (typeof dmaWays)[number];

/** What the server has of a mapping. */
interface Sent {
  /** MemoryFile.place of the file that it has; null: it sends messages. */
  readonly place: string | null;
  /** Ends looking after the process's memory. */
  readonly stop: (() => void) | null;
}

const map = new ArgumentBuffer(UserDmaMap.size);
const unmap = new ArgumentBuffer(UserDmaUnmap.size);

export class DmaMaps implements MappingListener {
  private readonly sent = new Map<Mapping, Sent>();
  /** Mappings whose memory may be another by now. */
  private readonly stale = new Set<Mapping>();
  /** The server has refused FILE_IO. */
  private noFileIo = false;

  constructor(
    private readonly client: Client,
    private readonly host: PeerHost,
    private readonly way: DmaWay,
    /** Told of a mapping that the server does not take, with its errno. */
    private readonly refused: (mapping: Mapping, error: number) => void,
  ) {}

  mapped(mapping: Mapping): void {
    if (this.client.isDead) return;
    const file = this.way === 'messages' ? null : this.fileOf(mapping);
    if (file !== null && this.sendFile(mapping, file, 0)) {
      // What is pinned stays what it is, whatever the process does.
      const stop = mapping.pinned ? null : this.watch(mapping);
      this.sent.set(mapping, { place: file.place, stop });
      return;
    }
    const isIo = this.way === 'shared' || (this.way === 'auto' && mapping.pinned);
    const memory = isIo && !this.noFileIo ? this.host.memoryOf(mapping.mm) : null;
    if (memory !== null) {
      const offset = memory.offset + mapping.vaddrPage * PAGE_SIZE;
      const isTaken = this.sendFile(mapping, { ...memory, offset }, UserDmaFlag.FILE_IO);
      this.noFileIo = !isTaken;
      if (isTaken) {
        this.sent.set(mapping, { place: null, stop: null });
        return;
      }
    }
    const error = this.sendMap(mapping, 0, 0, []);
    if (error === 0) this.sent.set(mapping, { place: null, stop: null });
    else if (!this.client.isDead) this.refused(mapping, error);
  }

  unmapping(mapping: Mapping): void {
    const sent = this.sent.get(mapping);
    if (sent === undefined) return;
    this.sent.delete(mapping);
    this.stale.delete(mapping);
    sent.stop?.();
    const { at, size } = UserDmaUnmap;
    unmap.setU32(at.argsz, size);
    unmap.setU32(at.flags, 0);
    unmap.setPages(at.address, mapping.iovaPage);
    unmap.setPages(at.size, mapping.pages);
    // Nothing can be done about a server that does not know it any more.
    this.client.request(Command.DMA_UNMAP, unmap.bytes);
  }

  /** Sends anew what the process has put other memory in the place of. */
  check(): void {
    if (this.stale.size === 0) return;
    const stale = [...this.stale];
    this.stale.clear();
    for (const mapping of stale) {
      const file = this.fileOf(mapping);
      if (file !== null) this.host.closeFile(file.fd);
      if (file?.place === this.sent.get(mapping)?.place) continue;
      this.unmapping(mapping);
      this.mapped(mapping);
    }
  }

  private fileOf({ mm, pages, permission, vaddrPage }: Mapping): MemoryFile | null {
    return this.host.fileOf(mm, vaddrPage, pages, permission);
  }

  private watch(mapping: Mapping): () => void {
    const end = mapping.vaddrPage + mapping.pages;
    return mapping.mm.subscribe({
      invalidate: (first, count) => {
        if (first < end && first + count > mapping.vaddrPage) this.stale.add(mapping);
      },
      release: () => {
        this.stale.add(mapping);
      },
    });
  }

  /** Whether the server takes it; the file is closed here. */
  private sendFile(mapping: Mapping, { fd, offset }: MemoryFile, flags: number): boolean {
    const error = this.sendMap(mapping, flags, offset, [fd]);
    this.host.closeFile(fd);
    return error === 0;
  }

  private sendMap(
    mapping: Mapping,
    flags: number,
    offset: number,
    descriptors: readonly number[],
  ): number {
    const { at, size } = UserDmaMap;
    map.setU32(at.argsz, size);
    // READ and WRITE are the same bits here and there.
    map.setU32(at.flags, mapping.permission | flags);
    map.setU64(at.offset, offset);
    map.setPages(at.address, mapping.iovaPage);
    map.setPages(at.size, mapping.pages);
    return this.client.request(Command.DMA_MAP, map.bytes, descriptors);
  }
}
