-- Data of format 3, which has what an action waits for: a build that doesn't know it can't read the rows.
UPDATE kapi.head SET min_report = 5, min_start = 5;
