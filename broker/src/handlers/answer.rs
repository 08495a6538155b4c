//! What a handler gives back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use ottla_protocol::wire::Pieces;
use ottla_protocol::{Message, Request, frame};

use super::{FileSlice, RequestContext};

/// The parallel part of a request.
pub type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// What the ordered part of a handler ends with.
pub enum Answer {
    /// The response is there.
    Ready(Reply),
    /// The response will be there; later requests are handled meanwhile. The future must end by itself
    /// (deadlines are its own) and is dropped when the connection ends.
    Later(Later),
    /// The request gets no response, as Produce with acks=0.
    None,
    /// The connection is to be closed, after the responses to earlier requests.
    Close,
}

/// One response, encoded, or the wish to send none.
#[derive(Debug)]
pub struct Reply {
    /// What the writer does.
    pub body: ReplyBody,
}

#[derive(Debug)]
/// What the connection writer does with a reply.
pub enum ReplyBody {
    /// The whole frame with its length; external pieces are filled from the slice of the same id.
    Frame {
        /// Length, header and body.
        pieces: Pieces,
        /// What fills the external pieces.
        slices: Vec<FileSlice>,
    },
    /// No response to this request.
    None,
    /// Close the connection.
    Close,
}

impl Reply {
    /// Encodes the response to a request of type `R` in the version it was asked in. If it cannot be
    /// encoded, which is our defect, it is logged and the connection will be closed.
    pub fn new<R: Request>(context: &RequestContext, response: &R::Response) -> Self {
        Self::with_files::<R>(context, response, Vec::new())
    }

    /// As [`Reply::new`], with a file slice for each `Records::External` in the response: the piece with
    /// id `n` is filled from the slice with id `n`.
    pub fn with_files<R: Request>(
        context: &RequestContext,
        response: &R::Response,
        slices: Vec<FileSlice>,
    ) -> Self {
        let version = context.api_version;
        match frame::encode_response(R::KEY, version, context.correlation_id, response) {
            Ok(pieces) => Self { body: ReplyBody::Frame { pieces, slices } },
            Err(error) => {
                let message = <R::Response as Message>::NAME;
                tracing::error!(message, version, %error, "response cannot be encoded; closing the connection");
                Self::close()
            }
        }
    }

    /// A frame that is encoded already: length, header, body.
    pub fn from_frame(pieces: Pieces) -> Self {
        Self { body: ReplyBody::Frame { pieces, slices: Vec::new() } }
    }

    /// No response, as to Produce with acks=0.
    pub const fn none() -> Self {
        Self { body: ReplyBody::None }
    }

    /// Closes the connection, after the responses to earlier requests.
    pub const fn close() -> Self {
        Self { body: ReplyBody::Close }
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        match &self.body {
            ReplyBody::Frame { pieces, .. } => pieces.len(),
            ReplyBody::None | ReplyBody::Close => 0,
        }
    }

    /// True if nothing will be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Answer {
    /// Encodes a response that is there; see [`Reply::new`].
    pub fn ready<R: Request>(context: &RequestContext, response: &R::Response) -> Self {
        Self::Ready(Reply::new::<R>(context, response))
    }

    /// The parallel part.
    pub fn later(future: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(reply) => f.debug_tuple("Ready").field(reply).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::None => f.write_str("None"),
            Self::Close => f.write_str("Close"),
        }
    }
}
