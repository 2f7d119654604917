-- Data of format 2, which has the sender: a build that doesn't know it can't read the rows.
UPDATE kapi.head SET min_report = 3, min_start = 3;
