//! Interfaces that can cross threads: what r2r generates always can, and here the compiler learns it.

use r2r::{WrappedActionTypeSupport, WrappedServiceTypeSupport, WrappedTypesupport};

/// A message type.
pub trait Message: WrappedTypesupport + Send + 'static {}

impl<T: WrappedTypesupport + Send + 'static> Message for T {}

/// A service type: `r2r::<package>::srv::<Name>::Service`.
pub trait Service: WrappedServiceTypeSupport<Request: Message, Response: Message> + Send + 'static {}

impl<T: WrappedServiceTypeSupport<Request: Message, Response: Message> + Send + 'static> Service for T {}

/// An action type: `r2r::<package>::action::<Name>::Action`.
pub trait Action:
    WrappedActionTypeSupport<
        Goal: Message,
        Result: Message,
        Feedback: Message,
        FeedbackMessage: Message,
        SendGoal: Service,
        GetResult: Service,
    > + Send
    + 'static
{
}

impl<T> Action for T where
    T: WrappedActionTypeSupport<
            Goal: Message,
            Result: Message,
            Feedback: Message,
            FeedbackMessage: Message,
            SendGoal: Service,
            GetResult: Service,
        > + Send
        + 'static
{
}
