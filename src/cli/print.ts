/** What a command has to say that is done at once. */
import process from 'node:process';

/** A reader that has seen enough (`| head`) is no failure. */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = (error?: NodeJS.ErrnoException | null): void => {
      // After a failure the stream says so a second time, by an event that somebody has to hear.
      if (error == null) process.stdout.off('error', done);
      if (error == null || error.code === 'EPIPE') resolve();
      else reject(error);
    };
    process.stdout.on('error', done);
    process.stdout.write(text, done);
  });
}
