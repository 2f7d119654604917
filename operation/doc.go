// Package operation makes definitions of operations (kapi.Definition) from Go types.
//
// [Define] derives the JSON Schema of the arguments from a struct, and checks arguments against it before anything is
// started: each wrong one is named with its reason.
package operation
