import ArgumentParser

@main
struct Filoscope: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "filoscope",
        abstract: "Makes videos from words, on this machine, through the daemon filoscoped.",
        discussion: """
            The shortest way:
              filoscope generate "a red apple bouncing on the grass" -o apple.mp4

            Put a job in the queue, look at it later:
              id=$(filoscope generate "a frog spinning at sunset" --no-wait)
              filoscope watch "$id"
              filoscope save "$id" -o frog.mp4

            Exit codes, for scripts:
              0   done
              1   the video failed or was cancelled
              64  the command line is wrong
              65  the daemon refused the request; the message names the field
              66  a file can't be read
              69  no daemon answers at the socket
              74  a file can't be written
              75  try again later: the queue is full, or the daemon has no model or too little memory
              130 interrupted; the video goes on in the daemon
            """,
        version: "0.1.0",
        subcommands: [
            Generate.self, Storyboard.self, Image.self, Extend.self, Edit.self, Blend.self, Remix.self, List.self,
            Show.self, Watch.self, Save.self,
            Cancel.self, Delete.self, Models.self,
            Status.self,
        ]
    )
}
