/**
 * Requests and their answers over something that carries datagrams: sequence numbers, acknowledgements, dumps
 * in many parts; netlink(7). The transport is a parameter so that every answer a kernel may give can be tested.
 */
import { ERRNO } from '../../spec/errno.js';
import { type Ack, decodeAck } from './ack.js';
import { decodeMessages, encodeMessage, type Message, NetlinkFormatError } from './codec.js';
import { NLM_F, NLMSG } from './constants.js';
import { NetlinkError } from './error.js';
import type { NetlinkRequest } from './request.js';

export interface Transport {
  /** Sends one message. Throws SyscallError. */
  send(message: Buffer): void;
  /** One datagram, which the receiver keeps. Throws when none comes in time. */
  receive(): Buffer;
}

/**
 * A dump is repeated when what it lists changed meanwhile. On a host that makes and unmakes links all the time
 * several in a row may be spoiled; one takes about 2 ms per hundred links.
 */
const DUMP_ATTEMPTS = 32;

export class Exchange {
  private sequence = 0;

  constructor(private readonly transport: Transport) {}

  /**
   * Sends `request` and waits until the kernel has done it or refused it (NetlinkError). Returns the messages
   * that came before the acknowledgement: a get's answer, or what NLM_F_ECHO brings.
   */
  request(request: NetlinkRequest): Message[] {
    const sequence = this.send(request, NLM_F.REQUEST | NLM_F.ACK);
    const replies: Message[] = [];
    for (;;) {
      for (const message of this.receive(sequence)) {
        if (message.type !== NLMSG.ERROR) {
          replies.push(message);
          continue;
        }
        refuse(request, decodeAck(message));
        return replies;
      }
    }
  }

  /** Every message of a consistent dump. NetlinkError EINTR if the listed things would not keep still. */
  dump(request: NetlinkRequest): Message[] {
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const { messages, interrupted } = this.dumpOnce(request);
      if (!interrupted) return messages;
    }
    const text = `changed during each of ${DUMP_ATTEMPTS} attempts to read it`;
    throw new NetlinkError(request, { errno: ERRNO.EINTR, text, offset: undefined, missing: undefined });
  }

  /** Reads to the end even what is known to be spoiled: the kernel runs one dump per socket at a time. */
  private dumpOnce(request: NetlinkRequest): { messages: Message[]; interrupted: boolean } {
    const sequence = this.send(request, NLM_F.REQUEST | NLM_F.DUMP);
    const messages: Message[] = [];
    let interrupted = false;
    for (;;) {
      for (const message of this.receive(sequence)) {
        interrupted ||= (message.flags & NLM_F.DUMP_INTR) !== 0;
        if (message.type !== NLMSG.ERROR && message.type !== NLMSG.DONE) {
          messages.push(message);
          continue;
        }
        refuse(request, decodeAck(message));
        return { messages, interrupted };
      }
    }
  }

  private send({ type, flags, header, attributes }: NetlinkRequest, extra: number): number {
    this.sequence = (this.sequence + 1) >>> 0;
    const { sequence } = this;
    this.transport.send(encodeMessage({ type, flags: flags | extra, sequence, header, attributes }));
    return sequence;
  }

  /** The next datagram's messages, without those that answer an earlier request that was given up (a time limit). */
  private receive(sequence: number): Message[] {
    const messages = decodeMessages(this.transport.receive()).filter(message => message.sequence === sequence);
    if (messages.some(({ type }) => type === NLMSG.OVERRUN))
      throw new NetlinkFormatError('the kernel reports lost data');
    return messages.filter(({ type }) => type !== NLMSG.NOOP);
  }
}

function refuse(request: NetlinkRequest, ack: Ack): void {
  if (ack.errno !== 0) throw new NetlinkError(request, ack);
}
