// Package linear holds tests alone: several peers, each a process of its own, share one store
// and are troubled, and what they were told must be explicable as if one thing had happened
// after the other, by the rules of kapi (linearizability). The search for such an order is
// porcupine's.
//
//   - TestPostgreSQL: peers are killed and frozen, their connections cut and hung, the database
//     is killed and comes back. It syncs to disk.
//   - TestSQLite: the same for a file, as far as a file has such faults.
//   - TestBugsAreFound: a peer that was given a bug makes histories that are found illegal.
//   - TestRules: hand-made histories, one for each thing that the checker must let pass or find.
//
// # A history
//
// Each peer has two callers. They start actions with one to three of ten keys, of two kinds:
// those whose operation the peer runs, and those whose work is done elsewhere and on which any
// peer reports by its fence. They report with the right fence and with wrong ones, end, dismiss
// (by itself, or on the way of a start), and read. A peer tells each call before it makes it,
// and the answer after it has it, with the time, on its standard output; so of a peer that is
// killed it is known what it may have done.
//
// When all is over and everything works again, all that the store has is read: every action
// there ever was, with its fence. This closes the history, and a change that was acknowledged
// and is not there has no place in any order.
//
// The faults and what each caller does are chosen by a seed, which is logged. LINEAR_SEED=N makes
// the same plan again, though not the same timing. Of a history that is not legal, porcupine's
// picture and the history as text are left in a folder that is logged (with -artifacts, in the
// test's own); the text ends with the operations that have no place.
//
// # The model
//
// The state is, for each action, its status, fence, state, progress, the keys it holds and the
// highest seq that it was seen to have; and the highest seq of all. The rules are written down
// again in model_test.go, from the documents and not from the code:
//
//   - A start gets all keys or none, and no key that an ongoing action has. A refusal names the
//     first key that is held, and its holder as it is. The fence is above every seq before it.
//   - A report with another fence than the action's is refused. One with the right fence is
//     taken while the action is active, and the answer shows what it made of the action. The
//     same end may be reported again.
//   - A failed action keeps its keys, unless it was to release them, until it is dismissed.
//   - What a list or a get shows is how things were between its call and its answer.
//   - Changes happen in the order of their seqs, and who saw a seq has seen all before it.
//
// An answer that wraps ErrUnavailable promises that nothing was changed: then the call is not
// part of the history, and any trace of it makes the history illegal. If it is
// ErrOutcomeUnknown too, or there was no answer, the call may have happened at any time since,
// or not at all. Two things follow it: a start that was not confirmed may be failed by its own
// peer, or by others once that has left; and what an operation said through its handle is sent
// again, without its move.
//
// The moves that no caller makes: the action of a runner that was killed may fail at any moment
// after the kill, and no other may: not that of a frozen one, nor that of one which the store
// lost for a while. Silence only lies over what is seen of status and state, and is not looked
// at further.
//
// Not modelled are the queue (Spec.Wait), Cancel, takeovers, watchers, and when a runner is
// shown as silent.
//
// # Why the shortcuts are sound
//
// The search is exponential where much is uncertain, so it is helped in three ways; none of them
// lets an illegal history pass or forbids a legal one.
//
// What is stored at the end decides about calls without an answer: a start whose title (which
// nobody else uses) is not there did not happen, or was lost without having been acknowledged;
// had anybody seen it meanwhile, that sight is illegal without it.
//
// Times are narrowed by what is known of the order (narrow): a change is before all those that
// have a higher seq. The model demands the same.
//
// The history is split by key (split). A part has the actions that want one key and all that
// looks at them or changes them. If the whole has an order, so has each part, for it only knows
// less. The other way round: what two actions can do to each other, the rules tell by the keys
// that both want, and then both are in that key's part; all else between them is the order of
// their seqs, which is one for all parts.
package linear
