// Package wire defines kAPI's wire format in one place, for servers and clients: the gateway's opcodes,
// close codes, intents and messages, the REST error codes with their HTTP status, and the bodies of
// requests and answers. It opens no connection and decides nothing.
package wire
