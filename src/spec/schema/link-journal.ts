/** Showing the container's journal on the host, as systemd-nspawn(1) --link-journal (HST-21). */
import * as v from 'valibot';

export const LINK_JOURNALS = ['no', 'guest', 'host', 'auto', 'try-guest', 'try-host'] as const;
export type LinkJournal = (typeof LINK_JOURNALS)[number];

export const linkJournal = v.picklist(LINK_JOURNALS, 'must be no, guest, host, auto, try-guest or try-host');
