-- Data has format 2, which adds the sender. A build that doesn't know this format can't read the rows.
UPDATE kapi.head SET min_report = 3, min_start = 3;
