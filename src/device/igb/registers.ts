/**
 * Registers of Intel's 82576 (datasheet, chapter 8), offsets in bytes of BAR 0. Reset values are
 * those after a reset with an EEPROM and no link.
 */
import { type RegisterRow, RegisterTable } from '../register-table.js';

/** Bytes of BAR 0. */
export const REGISTER_BYTES = 0x20000;
/** Receive queues, and as many transmit queues. */
export const QUEUES = 16;
/** Pairs of RAL and RAH that are one after the other; the other eight lie behind. */
const ADDRESSES_LOW = 16;
export const ADDRESSES = 24;
/** Bytes from a queue's registers to the next one's, and the same at the old addresses. */
export const QUEUE_STRIDE = 0x40;
const OLD_STRIDE = 0x100;
const OLD_QUEUES = 4;

/** Where the model itself looks and writes. */
export const Reg = {
  CTRL: 0x0000,
  STATUS: 0x0008,
  EECD: 0x0010,
  EERD: 0x0014,
  CTRL_EXT: 0x0018,
  MDIC: 0x0020,
  VET: 0x0038,
  ICR: 0x00c0,
  IMS: 0x00d0,
  RCTL: 0x0100,
  TCTL: 0x0400,
  EEMNGCTL: 0x1010,
  GPIE: 0x1514,
  EIMS: 0x1524,
  EIAC: 0x152c,
  EIAM: 0x1530,
  EICR: 0x1580,
  EITR: 0x1680,
  IVAR: 0x1700,
  IVAR_MISC: 0x1740,
  RXCSUM: 0x5000,
  RLPML: 0x5004,
  MTA: 0x5200,
  RAL: 0x5400,
  RAH: 0x5404,
  PSRTYPE: 0x5480,
  VFTA: 0x5600,
  MRQC: 0x5818,
  SWSM: 0x5b50,
  RETA: 0x5c00,
  RSSRK: 0x5c80,
  RDBAL: 0xc000,
  RDBAH: 0xc004,
  RDLEN: 0xc008,
  SRRCTL: 0xc00c,
  RDH: 0xc010,
  RDT: 0xc018,
  RXDCTL: 0xc028,
  RQDPC: 0xc030,
  TDBAL: 0xe000,
  TDBAH: 0xe004,
  TDLEN: 0xe008,
  TDH: 0xe010,
  TDT: 0xe018,
  TXDCTL: 0xe028,
  TDWBAL: 0xe038,
  TDWBAH: 0xe03c,
} as const;

/** Counters that the model counts; the others stay 0. */
export const Count = {
  MPC: 0x4010,
  PRC64: 0x405c,
  GPRC: 0x4074,
  BPRC: 0x4078,
  MPRC: 0x407c,
  GPTC: 0x4080,
  GORCL: 0x4088,
  GOTCL: 0x4090,
  RNBC: 0x40a0,
  ROC: 0x40ac,
  TORL: 0x40c0,
  TOTL: 0x40c8,
  TPR: 0x40d0,
  TPT: 0x40d4,
  PTC64: 0x40d8,
  MPTC: 0x40f0,
  BPTC: 0x40f4,
  TSCTC: 0x40f8,
  IAC: 0x4100,
} as const;

const RING_LENGTH = 0x000ffff0;
const RING_BASE = 0xffffffe0;

/** A register of each queue, at its two addresses. */
function ofQueues(name: string, offset: number, row: Partial<RegisterRow> = {}): RegisterRow {
  const isReceive = offset < Reg.TDBAL;
  const old = isReceive ? 0x2800 + offset - Reg.RDBAL : 0x3800 + offset - Reg.TDBAL;
  return {
    name,
    offset,
    count: QUEUES,
    stride: QUEUE_STRIDE,
    also: { offset: old, count: OLD_QUEUES, stride: OLD_STRIDE },
    ...row,
  };
}

/** Plain storage: what is written is read, and the model does nothing with it. */
function stored(offset: number, names: string): RegisterRow[] {
  return names.split(' ').map((name, index) => ({ name, offset: offset + 4 * index }));
}

/** The low half of a counter of octets, which the read of the high half clears. */
const octetsLow = /^(H?GO[RT]C|TO[RT])L$/;

/** Counters from `offset` on, one after the other; `-` where there is none. */
function counters(offset: number, names: string): RegisterRow[] {
  return names
    .split(' ')
    .map(
      (name, index): RegisterRow => ({
        name,
        offset: offset + 4 * index,
        rule: octetsLow.test(name) ? 'ro' : 'rc',
      }),
    )
    .filter(({ name }) => name !== '-');
}

const general: RegisterRow[] = [
  { name: 'CTRL', offset: Reg.CTRL, mask: 0xdbffffff, reset: 0x00100209 },
  { name: 'STATUS', offset: Reg.STATUS, rule: 'ro', reset: 0x80080401 },
  { name: 'EECD', offset: Reg.EECD, mask: 0xffff84ff, reset: 0x00001310 },
  { name: 'EERD', offset: Reg.EERD, mask: 0x0000fffc },
  { name: 'CTRL_EXT', offset: Reg.CTRL_EXT, mask: 0xffffcfff },
  { name: 'MDIC', offset: Reg.MDIC, rule: 'ro' },
  { name: 'FCAL', offset: 0x0028 },
  { name: 'FCAH', offset: 0x002c, mask: 0xffff },
  { name: 'FCT', offset: 0x0030, mask: 0xffff },
  { name: 'VET', offset: Reg.VET, reset: 0x81008100 },
  { name: 'FCTTV', offset: 0x0170, mask: 0xffff },
  { name: 'LEDCTL', offset: 0x0e00, reset: 0x07068302 },
  { name: 'EEMNGCTL', offset: Reg.EEMNGCTL, reset: 0x80040000 },
  { name: 'FCRTL', offset: 0x2160, mask: 0x8000fff8 },
  { name: 'FCRTH', offset: 0x2168, mask: 0x0000fff8 },
  { name: 'FCRTV', offset: 0x2460, mask: 0xffff },
  ...stored(0x5800, 'WUC'),
  ...stored(0x5808, 'WUFC'),
  ...stored(0x5810, 'WUS'),
  { name: 'MANC', offset: 0x5820 },
  { name: 'IPAV', offset: 0x5838 },
  { name: 'IP4AT', offset: 0x5840, count: 4, stride: 8 },
  { name: 'IP6AT', offset: 0x5880, count: 4 },
  { name: 'WUPM', offset: 0x5a00, count: 32 },
  { name: 'GCR', offset: 0x5b00, mask: 0xf97fffff, reset: 0x06850200 },
  ...stored(0x5b10, 'GSCL_1 GSCL_2 GSCL_3 GSCL_4 GSCN_0 GSCN_1 GSCN_2 GSCN_3 FACTPS'),
  { name: 'SWSM', offset: Reg.SWSM },
  { name: 'FWSM', offset: 0x5b54, rule: 'ro' },
  { name: 'SW_FW_SYNC', offset: 0x5b5c },
];

const interrupts: RegisterRow[] = [
  { name: 'ICR', offset: Reg.ICR, rule: 'ro' },
  { name: 'ICS', offset: 0x00c8, rule: 'wo' },
  { name: 'IMS', offset: Reg.IMS, rule: 'w1s', mask: 0x77d4fbfd },
  { name: 'IMC', offset: 0x00d8, rule: 'wo' },
  { name: 'IAM', offset: 0x00e0 },
  { name: 'GPIE', offset: Reg.GPIE },
  { name: 'EICS', offset: 0x1520, rule: 'wo' },
  { name: 'EIMS', offset: Reg.EIMS, rule: 'w1s', mask: 0xc1ffffff },
  { name: 'EIMC', offset: 0x1528, rule: 'wo' },
  { name: 'EIAC', offset: Reg.EIAC, mask: 0x01ffffff },
  { name: 'EIAM', offset: Reg.EIAM, mask: 0xc1ffffff },
  { name: 'EICR', offset: Reg.EICR, rule: 'w1c' },
  { name: 'EITR', offset: Reg.EITR, count: 25, mask: 0x7fffffff },
  { name: 'IVAR', offset: Reg.IVAR, count: 8 },
  { name: 'IVAR_MISC', offset: Reg.IVAR_MISC },
];

const receive: RegisterRow[] = [
  { name: 'RCTL', offset: Reg.RCTL },
  { name: 'RXPBS', offset: 0x2404, reset: 0x40 },
  { name: 'QDE', offset: 0x2408 },
  { name: 'RXCSUM', offset: Reg.RXCSUM, reset: 0x300 },
  { name: 'RLPML', offset: Reg.RLPML, reset: 0x2600 },
  { name: 'RFCTL', offset: 0x5008 },
  { name: 'MTA', offset: Reg.MTA, count: 128 },
  ...(['RAL', 'RAH'] as const).map((name) => ({
    name,
    offset: Reg[name],
    count: ADDRESSES_LOW,
    stride: 8,
    also: { offset: Reg[name] - Reg.RAL + 0x0040 },
  })),
  { name: 'RAL_HIGH', offset: 0x54e0, count: ADDRESSES - ADDRESSES_LOW, stride: 8 },
  { name: 'RAH_HIGH', offset: 0x54e4, count: ADDRESSES - ADDRESSES_LOW, stride: 8 },
  { name: 'PSRTYPE', offset: Reg.PSRTYPE, count: 8 },
  { name: 'VFTA', offset: Reg.VFTA, count: 128, also: { offset: 0x0600 } },
  { name: 'MRQC', offset: Reg.MRQC },
  { name: 'RETA', offset: Reg.RETA, count: 32 },
  { name: 'RSSRK', offset: Reg.RSSRK, count: 10 },
  { name: 'ETQF', offset: 0x5cb0, count: 8 },
  ofQueues('RDBAL', Reg.RDBAL, { mask: RING_BASE }),
  ofQueues('RDBAH', Reg.RDBAH),
  ofQueues('RDLEN', Reg.RDLEN, { mask: RING_LENGTH }),
  ofQueues('SRRCTL', Reg.SRRCTL),
  ofQueues('RDH', Reg.RDH, { mask: 0xffff }),
  ofQueues('RDT', Reg.RDT, { mask: 0xffff }),
  ofQueues('RXDCTL', Reg.RXDCTL, { reset: [0x02010000, 0x00010000] }),
  ofQueues('RQDPC', Reg.RQDPC, { rule: 'rc' }),
];

const transmit: RegisterRow[] = [
  { name: 'TCTL', offset: Reg.TCTL, reset: 0xa40400f8 },
  { name: 'TCTL_EXT', offset: 0x0404, reset: 0x00010840 },
  { name: 'TIPG', offset: 0x0410, reset: 0x00601008 },
  { name: 'TXPBS', offset: 0x3404, reset: 0x28 },
  ...['TDFH', 'TDFT', 'TDFHS', 'TDFTS', 'TDFPC'].map((name, index) => ({
    name,
    offset: 0x3410 + 8 * index,
    mask: 0x1fff,
  })),
  { name: 'DTXCTL', offset: 0x3590, reset: 0x44 },
  ofQueues('TDBAL', Reg.TDBAL, { mask: RING_BASE }),
  ofQueues('TDBAH', Reg.TDBAH),
  ofQueues('TDLEN', Reg.TDLEN, { mask: RING_LENGTH }),
  ofQueues('TDH', Reg.TDH, { mask: 0xffff }),
  ofQueues('TXCTL', 0xe014, { reset: 0x2a00 }),
  ofQueues('TDT', Reg.TDT, { mask: 0xffff }),
  ofQueues('TXDCTL', Reg.TXDCTL, { reset: [0x02000000, 0] }),
  ofQueues('TDWBAL', Reg.TDWBAL),
  ofQueues('TDWBAH', Reg.TDWBAH),
];

/** Registers for virtual functions, which this model lacks; drivers set them up all the same. */
const virtualization: RegisterRow[] = [
  { name: 'VMBMEM', offset: 0x0800, count: 128 },
  { name: 'P2VMAILBOX', offset: 0x0c00, count: 8, mask: 0x8 },
  { name: 'MBVFIMR', offset: 0x0c84, reset: 0xff },
  ...stored(0x3500, 'DTXSWC'),
  { name: 'VFRE', offset: 0x0c8c, reset: 0xff },
  { name: 'VFTE', offset: 0x0c90, reset: 0xff },
  { name: 'VMVIR', offset: 0x3700, count: 8 },
  { name: 'VT_CTL', offset: 0x581c },
  { name: 'VMOLR', offset: 0x5ad0, count: 8, reset: 0x80002600 },
  { name: 'RPLOLR', offset: 0x5af0, reset: 0x80000000 },
  { name: 'VLVF', offset: 0x5d00, count: 32 },
];

const time: RegisterRow[] = [
  { name: 'TSYNCRXCFG', offset: 0x5f50 },
  ...stored(0xb600, 'SYSTIML SYSTIMH TIMINCA TIMADJL TIMADJH TSYNCTXCTL TXSTMPL TXSTMPH'),
  ...stored(0xb620, 'TSYNCRXCTL RXSTMPL RXSTMPH RXSATRL RXSATRH'),
];

const statistics: RegisterRow[] = [
  ...counters(0x4000, 'CRCERRS ALGNERRC SYMERRS RXERRC MPC SCC ECOL MCC LATECOL - COLC CBTMPC DC'),
  ...counters(0x4034, 'TNCRS SEC HTDPMC RLEC - XONRXC XONTXC XOFFRXC XOFFTXC FCRUC'),
  ...counters(0x405c, 'PRC64 PRC127 PRC255 PRC511 PRC1023 PRC1522 GPRC BPRC MPRC GPTC'),
  ...counters(0x4088, 'GORCL GORCH GOTCL GOTCH - - RNBC RUC RFC ROC RJC MGTPRC MGTPDC MGTPTC'),
  ...counters(0x40c0, 'TORL TORH TOTL TOTH TPR TPT'),
  ...counters(0x40d8, 'PTC64 PTC127 PTC255 PTC511 PTC1023 PTC1522 MPTC BPTC TSCTC CBRMPC'),
  ...counters(0x4100, 'IAC RPTHC ICRXATC ICTXPTC ICTXATC - HGPTC ICTXQMTC ICRXDMTC HTCBDPC'),
  ...counters(0x4128, 'HGORCL HGORCH HGOTCL HGOTCH LENERRS'),
];

export const igbRegisters = new RegisterTable(
  [...general, ...interrupts, ...receive, ...transmit, ...virtualization, ...time, ...statistics],
  REGISTER_BYTES,
);

/** Registers that a software reset (CTRL.RST) leaves as they are. */
export const keptByReset: ReadonlySet<string> = new Set(['EITR', 'RXPBS', 'TXPBS']);
