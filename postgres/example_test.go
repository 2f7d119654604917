package postgres_test

import (
	"context"
	"errors"
	"log"

	"github.com/jackc/pgx/v5"

	"github.com/kettubot/kapi"
	"github.com/kettubot/kapi/peer"
	"github.com/kettubot/kapi/postgres"
)

// Several machines share their actions by opening the same database.
func Example() {
	ctx := context.Background()
	store, err := postgres.Open(ctx, "postgres://kapi@db1,db2/kapi", postgres.Options{})
	if err != nil {
		log.Fatal(err)
	}
	k, err := peer.Open(ctx, store, peer.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer k.Close()
}

// An action that starts if and only if the program's own transaction is committed.
func ExampleStartTx() {
	var (
		ctx  = context.Background()
		conn *pgx.Conn  // the program's own connection
		k    *peer.Peer // on the same database
	)
	reshard := func(ctx context.Context, h kapi.Handle) error { return nil }
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE shards SET wanted = 64"); err != nil {
			return err
		}
		_, err := postgres.StartTx(ctx, tx, k, kapi.Spec{Title: "Resharding", Keys: []string{"reshard"}}, reshard)
		return err
	})
	var held *kapi.HeldError
	if errors.As(err, &held) {
		log.Printf("rolled back: %s is resharding already", held.Holder.Runner.Host)
	}
}
