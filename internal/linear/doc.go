// Package linear has only tests. Several peers, each a process of its own, share one store while
// faults are injected, and what they were told must be consistent with some order in which the calls
// happened one by one by kapi's rules (linearizability). The search for such an order is porcupine's.
//
//   - TestPostgreSQL: peers are killed and frozen, their connections are cut and hang, the database
//     is killed and restarted. It syncs to disk.
//   - TestSQLite: the same for a file, as far as a file has such faults.
//   - TestTakeoverPostgreSQL, TestTakeoverSQLite: five peers offer operations, and take them over from each other
//     when runners die, freeze or leave. Two more only start them.
//   - TestBugsAreFound: if a bug is built into a peer, the checker finds an illegal history.
//   - TestRules, TestRulesOfClaims, TestRulesOfCheckpoints: histories written by hand, one for each thing that the
//     checker must accept or find.
//
// # A history
//
// Each peer has two callers. They start actions with one to three of ten keys. There are two kinds:
// those whose operation the peer runs, and those whose work is done elsewhere and on which any peer
// with the fence reports. Callers report with the right fence and with wrong ones, end, dismiss
// (directly, or as part of a start), and read. A peer writes each call to standard output before it
// makes the call, and the answer after it has it, both with the time. So it is known what a killed
// peer may have done.
//
// When the faults are over and everything works again, the test reads the whole store: every action
// that ever was, with its fence. This closes the history, and a change that was acknowledged but is
// not in the store fits no order.
//
// The faults and each caller's actions follow from a seed, which is logged. LINEAR_SEED=N repeats
// the plan, though not its timing. For an illegal history, the test writes porcupine's visualisation
// and the history as text to a folder that it logs (with -artifacts, the test's own). The text ends
// with the operations that don't fit.
//
// # The model
//
// The state has, for each action, its status, fence, state, progress, held keys and the highest seq
// that was seen of it; and the highest seq of all. model_test.go states the rules a second time, from
// the documents and not from the code:
//
//   - A start gets all keys or none, and no key that an ongoing action holds. A refusal names the
//     first held key, and its holder's current state. The fence is above every earlier seq.
//   - A report with a fence other than the action's is refused. One with the right fence is accepted
//     while the action is active, and the answer shows the resulting action. The same end may be
//     reported again.
//   - A failed action keeps its keys until it is dismissed, unless it was started to release them.
//   - A list or a get shows how things were at some time between its call and its answer.
//   - Changes happen in the order of their seqs, and whoever saw a seq has seen everything before it.
//
// An answer that wraps ErrUnavailable promises that nothing was changed. The history then leaves the
// call out, so any trace of it is illegal. If the answer also wraps ErrOutcomeUnknown, or there was no
// answer, the call may have happened at any time since, or not at all. That has two consequences: a
// start that was not confirmed may be failed by its own peer, or by others after that peer has left;
// and what an operation said through its handle is sent again, without its move.
//
// Some moves are made by no caller: the action of a killed runner may fail at any moment after the
// kill. No other action may fail by itself, neither that of a frozen runner nor that of one that lost
// the store for a while. Silence only hides an action's status and state, and is not checked further.
//
// The model leaves out the queue (Spec.Wait), Cancel, watchers, and when a runner is shown as silent.
//
// # Takeovers
//
// Histories with operations are of a kind of their own, with a model of their own
// (takeover_model_test.go). An operation counts, and makes each number a checkpoint, together with its
// fence; in the end it completes or fails. Its runners are killed, leave and are frozen. With
// PostgreSQL their connections are cut, too, and every second peer has a PID namespace of its own, so
// that the others can judge it by its silence alone: a frozen runner loses its actions, and comes
// back. The peers that offer the operation are full peers. Of the two others, one stays light.
//
// A history has the starts, and for each call of Run its fence, what Restore gave, each Proceed and
// Checkpoint, and the end. Peers also say when they renew their lease, so that it is known how long
// they were silent. The rules:
//
//   - A start is recorded and has no runner, or its own peer is the runner.
//   - A claim comes when the action has no runner. It has a fence above every earlier seq, the same
//     id, and an attempt that is not lower. Of several claims of one vacancy, one succeeds.
//   - An action loses its runner only if that has handed it over, has been killed or told to leave, or
//     was silent for the second limit. On one machine's SQLite store silence is no reason. When
//     exactly it happens, or whether, is open; the calls of its runners decide.
//   - A Checkpoint whose fence is that of the action's runner is stored, any other one is refused.
//     Proceed succeeds only if no other runner has come yet: that is what the runner's stopping itself
//     is for.
//   - Restore gives the last checkpoint: the last one that was acknowledged, or a later one of unknown
//     outcome. What is stored at the end is the same.
//   - Only its own run ends an action. A runner that has left has none.
//
// Actions of operations don't affect each other here: they have no keys and no limit. Each is checked
// by itself, and the order of all seqs as in the other histories.
//
// # Why the shortcuts are sound
//
// The search is exponential where much is uncertain, so it is made easier in three ways. None of them
// accepts an illegal history or rejects a legal one.
//
// What is stored at the end decides about calls without an answer. If no action has the title of a
// start, which is unique, the start did not happen, or was lost before it was acknowledged; if anybody
// saw the action meanwhile, that sight is now illegal.
//
// Times are narrowed by what is known of the order (narrow): a change comes before all changes with a
// higher seq. The model demands the same.
//
// The history is split by key (split). A part has the actions that want one key, and all operations
// that see or change them. If the whole has an order, so has each part, because it has fewer
// constraints. Conversely, the rules let two actions affect each other only through a key that both
// want, and both are in that key's part. Everything else between them is the order of their seqs,
// which is the same in all parts.
package linear
