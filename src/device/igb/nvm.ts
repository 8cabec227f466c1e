import type { RegisterFile } from '../register-table.js';
import { ADDRESS_VALID } from './bits.js';
import { Reg } from './registers.js';

/** EERD. */
const START = 0x1;
const DONE = 0x2;
const ADDRESS_SHIFT = 2;
const ADDRESS_MASK = 0x3fff;
const DATA_SHIFT = 16;

/** Words of the EEPROM's base area; all of them with its last one add up to SUM (6.2). */
const WORDS = 64;
const SUM = 0xbaba;
/** The base area of a copper adapter with one port, from word 3 on. */
const BASE_AREA =
  '0d34ffff2010ffffffff1040ffff002b10c9808610c9000070c3000410c95c000000288000144a40' +
  '00606cfbc7b00abe0403078310a600010602000400200000004a208000f510ca0000000000004784' +
  '4602000000001000ffff01004000131f401301004000ffffffffffffffffffffffffffff00e0ffff';
const BASE_AREA_START = 3;
/** The only word behind the base area that is neither 0 nor all ones: where firmware looks. */
const FIRMWARE_WORD = 0x40;
const FIRMWARE = 0x0003;

/** The EEPROM: words that the card is set up from, the Ethernet address first. */
export class Nvm {
  private readonly words = new Uint16Array(WORDS);

  /** `mac`: six bytes. */
  constructor(
    private readonly registers: RegisterFile,
    private readonly mac: Uint8Array,
  ) {
    const { words } = this;
    for (let word = 0; word < 3; word++) words[word] = mac[2 * word]! | (mac[2 * word + 1]! << 8);
    for (let word = BASE_AREA_START; word < WORDS - 1; word++) {
      const at = 4 * (word - BASE_AREA_START);
      words[word] = Number.parseInt(BASE_AREA.slice(at, at + 4), 16);
    }
    words[WORDS - 1] = SUM - words.reduce((sum, word) => sum + word, 0);
    registers.onWrite(['EERD'], (value) => this.command(value));
  }

  /** After a reset the card reads its address by itself (EECD.AUTO_RD is set when it is done). */
  load(): void {
    const { mac, registers } = this;
    registers.set(Reg.RAL, mac[0]! | (mac[1]! << 8) | (mac[2]! << 16) | (mac[3]! << 24));
    registers.set(Reg.RAH, mac[4]! | (mac[5]! << 8) | ADDRESS_VALID);
  }

  private command(value: number): void {
    if ((value & START) === 0) return;
    const address = (value >>> ADDRESS_SHIFT) & ADDRESS_MASK;
    const data = address === FIRMWARE_WORD ? FIRMWARE : (this.words[address] ?? 0);
    this.registers.set(Reg.EERD, DONE | (address << ADDRESS_SHIFT) | (data << DATA_SHIFT));
  }
}
