// Package wire is kAPI's wire in one place, for those on both sides of it: the gateway's opcodes, close
// codes, intents and messages, the codes of errors over REST with their HTTP status, and the bodies
// of requests and answers. It has no connection and decides nothing.
package wire
