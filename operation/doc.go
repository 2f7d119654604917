// Package operation makes definitions of operations (kapi.Definition) from Go types, and does their work in steps that
// are not repeated when an operation is resumed.
//
// # Declaring
//
// [Define] derives the JSON Schema of the arguments from a struct, and checks arguments against it before anything is
// started: each wrong one is named with its reason.
//
// # Working
//
// An operation that is resumed, tried again or continued runs from its beginning. Nothing is replayed: what stands
// outside of [Step] and [Each] simply runs again.
//
//   - [Step] does one thing, and stores its result: later runs get the result, and don't do it again. The id that it is
//     given is the same in each of them, for outside systems that recognise repetition.
//   - [Each] does the same thing for each item of a sequence, and stores the key of the last one: later runs go on after it.
//   - OperationHandle's Checkpoint, Save and Load are for everything else. Names that begin with "kapi:" are those of Step
//     and Each; Save and Load refuse them.
//
// For example:
//
//	Run: func(ctx context.Context, h kapi.OperationHandle, a copying) error {
//		table, err := operation.Step(ctx, h, "create", func(ctx context.Context, id string) (string, error) {
//			return db.CreateTable(ctx, a.To, id)
//		})
//		if err != nil {
//			return err
//		}
//		return operation.Each(ctx, h, "rows", db.RowsAfter, func(ctx context.Context, row Row) error {
//			return db.Copy(ctx, row, table)
//		}, operation.EachOptions{Every: time.Second})
//	}
//
// # Failing
//
// An operation that returns an error is tried again as its Retry says, unless the error is [Permanent].
//
// # What is promised
//
//   - A step whose result is stored is not run again. If the process dies between the work of a step and the storing, it
//     is: once more, with the same id.
//   - An item is never skipped, also if the options, or the size of what the sequence reads at once, change between two
//     runs. After a crash those come again that were done since the key was stored last.
//   - What is stored is read strictly. If it doesn't fit the type of the program that runs now, that is a permanent error.
//
// All functions may be called concurrently.
package operation
