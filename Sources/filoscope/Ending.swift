import ArgumentParser
import Client

/// What all verbs do that make a video: follow it to its end and write it to a file, or leave it to the daemon.
struct Ending {
    var output: String?
    var format: String?
    var previewDir: String?
    var noWait: Bool
    var quiet: Bool
    var connection: Connection

    func wait(for created: Video) throws {
        if noWait {
            try connection.json ? printJSON(created) : print(created.id)
            return
        }
        Interruption.install(id: created.id)
        let daemon = connection.daemon
        let finished = try reporting {
            try Following(daemon: daemon, quiet: quiet || connection.json, previewDirectory: previewDir)
                .follow(created.id)
        }
        guard finished.status == "completed" else { throw report(failed: finished, json: connection.json) }
        let chosen = format ?? output.flatMap(filoscope.format(ofFile:)) ?? "mp4"
        let path = output ?? "\(finished.id).\(chosen)"
        let bytes = try reporting {
            try daemon.content(finished.id, variant: chosen == "jpg" ? "spritesheet" : "video", format: chosen)
        }
        try write(bytes, to: path)
        if connection.json {
            try printJSON(finished)
        } else if path != "-" {
            print(path)
        }
    }
}
