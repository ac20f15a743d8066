-- A journal that cannot be read to its end is damaged, and not drained. No row is rewritten, and the release before,
-- which may run beside, knows nothing of these columns: it goes on to take such a journal for drained.

alter table evergrant.journals
    add column damaged_at timestamptz,   -- since when
    add column damage text;              -- what of it cannot be read, in a sentence; null: nothing, as far as is known
