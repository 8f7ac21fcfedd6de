// Google's own in-memory Pub/Sub server: `pubsub_server PORT`, until SIGTERM or SIGINT.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	pb "cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
)

const (
	startsFile  = "starts"
	readyFile   = "ready"
	idsPerStart = 100_000
	pieces      = 100
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	exitOn(err)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	srv := pstest.NewServerWithPort(port)
	exitOn(skipIDs(srv, countedStarts()))
	// Whose it is: that of a process that was killed is still there when the next one begins.
	exitOn(os.WriteFile(readyFile, []byte(strconv.Itoa(os.Getpid())), 0o600))
	<-stop
	srv.Close()
}

// Google's ids never come again, and those of this server begin anew with each process: a message
// would then be acknowledged by what was meant for one of the process before. So each start uses
// up the ids that the ones before it in this folder may have given.
func skipIDs(srv *pstest.Server, starts int) error {
	if starts == 0 {
		return nil
	}
	ctx, topic := context.Background(), "projects/none/topics/none"
	if _, err := srv.GServer.CreateTopic(ctx, &pb.Topic{Name: topic}); err != nil {
		return err
	}
	messages := make([]*pb.PubsubMessage, idsPerStart/pieces)
	for i := range messages {
		messages[i] = &pb.PubsubMessage{Data: []byte("-")}
	}
	for i := 0; i < starts*pieces; i++ {
		request := &pb.PublishRequest{Topic: topic, Messages: messages}
		if _, err := srv.GServer.Publish(ctx, request); err != nil {
			return err
		}
		srv.ClearMessages()
	}
	_, err := srv.GServer.DeleteTopic(ctx, &pb.DeleteTopicRequest{Topic: topic})
	return err
}

func countedStarts() int {
	text, _ := os.ReadFile(startsFile)
	starts, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	exitOn(os.WriteFile(startsFile, []byte(strconv.Itoa(starts+1)), 0o600))
	return starts
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
