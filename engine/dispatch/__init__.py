"""The decisions about builds and jobs, by topic; `engine.dispatcher` names the public ones.

Each is one transaction. Locks are taken in one order by all of them, or two would wait for each
other: person (submit, retry), engine connections, builds by id, jobs by id, feed counters by person
(docs/engine.md). SQLite has one lock, taken as the transaction begins.
"""
